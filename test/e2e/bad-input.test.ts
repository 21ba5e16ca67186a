import { writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { must } from "../../src/common/index.ts";
import { openGguf } from "../../src/gguf/index.ts";
import { BAD_FILES } from "./bad-files.ts";
import { ErrorDocument } from "./documents.ts";
import { type Finished, runNoodle, STORYTELLER, startNoodle, tempPath } from "./noodle.ts";

const LIMIT_MS = 120_000;

/** Fails with this code and its exit code, says so on both channels, and leaves no process. */
async function expectError(args: readonly string[], code: string, exit: number): Promise<Finished> {
  const run = startNoodle([...args, "--json"]);
  const finished = await run.finished;
  expect({ ...ErrorDocument.parse(JSON.parse(finished.stdout)), exit: finished.code }).toMatchObject({ code, exit });
  expect(finished.stderr).toContain(code);
  expect(run.processes()).toEqual([]);
  return finished;
}

describe("a model file", () => {
  test.each(BAD_FILES)(
    "%s is refused by every command that reads it",
    { timeout: LIMIT_MS },
    async (damage, bytes, code) => {
      const path = tempPath(`${damage.replaceAll(" ", "-")}.gguf`);
      writeFileSync(path, bytes);
      await Promise.all([
        expectError(["inspect", path], code, 2),
        expectError(["cut", path, "--units", "0:1", "-o", tempPath("never.gguf")], code, 2),
        expectError(["generate", path, "-p", "x"], code, 2),
      ]);
    },
  );

  test("that is not there, or is a folder, is named", { timeout: LIMIT_MS }, async () => {
    await expectError(["inspect", tempPath("missing.gguf")], "FILE_NOT_FOUND", 2);
    await expectError(["inspect", tempPath(".")], "FILE_UNREADABLE", 2);
  });

  test("with NaN among its weights is found before anything is served", { timeout: LIMIT_MS }, async () => {
    const path = tempPath("nan.gguf");
    expect((await runNoodle(["dummy", "llama", "--type", "f32", "-o", path])).code).toBe(0);
    const file = await openGguf(path);
    const tensor = must(file.tensor("blk.1.ffn_down.weight"), "a weight");
    await file.close();
    const handle = await open(path, "r+");
    const nan = Buffer.alloc(4);
    nan.writeFloatLE(Number.NaN);
    await handle.write(nan, 0, 4, tensor.fileOffset + 64);
    await handle.close();
    await expectError(["generate", path, "-p", "x", "-n", "4", "--workers", "2"], "NON_FINITE", 1);
  });
});

describe("units and splits", () => {
  const out = tempPath("cut.gguf");
  test.each([
    [["cut", STORYTELLER, "--units", "0:15", "-o", out], "CUT_OUT_OF_RANGE"],
    [["cut", STORYTELLER, "--units", "5:5", "-o", out], "USAGE"],
    [["cut", STORYTELLER, "--units", "five", "-o", out], "USAGE"],
    [["cut", STORYTELLER, "--units", "0:5", "-o", STORYTELLER], "USAGE"],
    [["generate", STORYTELLER, "-p", "x", "--split", "0:6,7:14"], "SPLIT_INVALID"],
    [["generate", STORYTELLER, "-p", "x", "--split", "0:6,5:14"], "SPLIT_INVALID"],
    [["generate", STORYTELLER, "-p", "x", "--split", "0:6,6:13"], "SPLIT_INVALID"],
    [["generate", STORYTELLER, "-p", "x", "--split", "0:6,6:14", "--workers", "3"], "SPLIT_INVALID"],
    [["generate", STORYTELLER, "-p", "x", "--workers", "15"], "SPLIT_INVALID"],
  ])("%j is %s", { timeout: LIMIT_MS }, async (args, code) => {
    await expectError(args, code, 2);
  });
});

describe("a request", () => {
  const long = "Once upon a time there was a king. ".repeat(100);
  test.each([
    ["a prompt longer than the context", ["-p", long], "CONTEXT_EXCEEDED"],
    ["a prompt longer than the context, undivided", ["-p", long, "--reference"], "CONTEXT_EXCEEDED"],
    ["a context beyond the model's", ["-p", "x", "--context", "100000"], "USAGE"],
    ["an empty prompt", ["-p", ""], "PROMPT_EMPTY"],
    ["no tokens", ["-p", "x", "-n", "0"], "USAGE"],
    ["a temperature that is no number", ["-p", "x", "--temperature", "hot"], "USAGE"],
    ["a probability above one", ["-p", "x", "--top-p", "1.5"], "USAGE"],
    ["the reference compared with itself", ["-p", "x", "--reference", "--verify"], "USAGE"],
    ["workers for the reference", ["-p", "x", "--reference", "--workers", "2"], "USAGE"],
    [
      "a split for a cluster that runs already",
      ["-p", "x", "--coordinator", "127.0.0.1:1", "--split", "0:14"],
      "USAGE",
    ],
    ["no prompt", [], "USAGE"],
  ])("with %s is refused", { timeout: LIMIT_MS }, async (_what, options, code) => {
    await expectError(["generate", STORYTELLER, ...options], code, 2);
  });

  test("for a dummy of an unknown shape or architecture is refused", { timeout: LIMIT_MS }, async () => {
    await expectError(["dummy", "--like", "llama-900b", "-o", tempPath("x.gguf")], "USAGE", 2);
    await expectError(["dummy", "perceptron", "-o", tempPath("x.gguf")], "MODEL_UNSUPPORTED", 2);
    await expectError(["quantize", STORYTELLER, "--type", "q3", "-o", tempPath("x.gguf")], "USAGE", 2);
  });
});

describe("an address", () => {
  const taken: Server = createServer();
  let port = 0;

  beforeAll(async () => {
    await new Promise<void>((resolve) => {
      taken.listen(0, "127.0.0.1", resolve);
    });
    const address = taken.address();
    port = typeof address === "object" && address !== null ? address.port : 0;
  });
  afterAll(() => void taken.close());

  test("with a port in use is PORT_IN_USE, for HTTP and for gRPC", { timeout: LIMIT_MS }, async () => {
    const up = ["up", STORYTELLER, "--workers", "1"];
    await expectError([...up, "--port", String(port), "--grpc-port", "0"], "PORT_IN_USE", 2);
    await expectError([...up, "--port", "0", "--grpc-port", String(port)], "PORT_IN_USE", 2);
  });

  test("where no coordinator is gives exit code 3", { timeout: LIMIT_MS }, async () => {
    await expectError(["status", "--coordinator", "127.0.0.1:1"], "PEER_UNREACHABLE", 3);
    await expectError(["generate", "--coordinator", "127.0.0.1:1", "-p", "x"], "PEER_UNREACHABLE", 3);
    await expectError(["worker", "--join", "127.0.0.1:1"], "PEER_UNREACHABLE", 3);
  });

  test("where something else answers is not taken for a coordinator", { timeout: LIMIT_MS }, async () => {
    await expectError(["status", "--coordinator", `127.0.0.1:${port}`], "PEER_UNREACHABLE", 3);
  });

  test("that is none is wrong usage", { timeout: LIMIT_MS }, async () => {
    await expectError(["status", "--coordinator", "not an address"], "USAGE", 2);
    await expectError(["worker", "--join", "host:port"], "USAGE", 2);
  });
});
