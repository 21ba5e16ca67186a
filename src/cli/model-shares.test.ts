import { expect, test } from "vitest";
import { nameModel } from "./model-file.ts";
import { chooseGrpcPort, requireOneSplit, shareMemory } from "./model-shares.ts";
import { shareJoins } from "./worker-joins.ts";

const { signal } = new AbortController();
const code = (name: string) => expect.objectContaining({ code: name });

test("a model's id is its alias, or its file's name without what is no part of an id", () => {
  expect(nameModel("/models/Some Model (v2).Q4_0.gguf", undefined)).toBe("Some-Model-v2-.Q4_0");
  expect(nameModel("big-00001-of-00003.gguf", undefined)).toBe("big");
  expect(nameModel("...gguf", undefined)).toBe("model");
  expect(nameModel("a.gguf", "org/name:latest")).toBe("org/name:latest");
  expect(() => nameModel("a.gguf", "no spaces")).toThrow(code("USAGE"));
  expect(() => nameModel("a.gguf", "x".repeat(129))).toThrow(code("USAGE"));
});

test("memory is shared by the models' bytes, and then among their workers", () => {
  const makeModel = (fileBytes: number) =>
    ({ id: String(fileBytes), file: { model: { fileBytes } } }) as Parameters<typeof shareMemory>[0][number];
  const [small, large] = [makeModel(100), makeModel(300)];
  const share = shareMemory([small, large], 8000, 2);
  expect([share(small), share(large)]).toEqual([1000, 3000]);
  expect(shareMemory([small], undefined, 2)(small)).toBeUndefined();
  expect(shareMemory([small], 5000, 2)(small)).toBe(2500);
  expect(shareMemory([small, large], undefined, 1)(small)).toBeGreaterThan(0);
});

test("ports follow one another, 0 stays any, and a split is that of one model", () => {
  expect([chooseGrpcPort(7421, 0), chooseGrpcPort(7421, 2), chooseGrpcPort(0, 1)]).toEqual([7421, 7423, 0]);
  expect(() => chooseGrpcPort(65_535, 1)).toThrow(code("USAGE"));
  expect(() => requireOneSplit(["a", "b"], "0:2,2:4")).toThrow(code("USAGE"));
});

test("a worker of one coordinator has all its memory; of several that do not answer, equal parts", async () => {
  expect(await shareJoins(["127.0.0.1:1"], 100, signal)).toEqual([
    { address: "127.0.0.1:1", token: null, memoryBytes: 100 },
  ]);
  expect(await shareJoins(["127.0.0.1:1"], undefined, signal)).toEqual([
    { address: "127.0.0.1:1", token: null, memoryBytes: null },
  ]);
  expect(await shareJoins(["127.0.0.1:1", "127.0.0.1:2"], 100, signal)).toEqual([
    { address: "127.0.0.1:1", token: null, memoryBytes: 50 },
    { address: "127.0.0.1:2", token: null, memoryBytes: 50 },
  ]);
  await expect(shareJoins(["127.0.0.1:1", "127.0.0.1:1"], 100, signal)).rejects.toMatchObject({ code: "USAGE" });
});
