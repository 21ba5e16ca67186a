import { describe, expect, test } from "vitest";
import { type GgufValue, openGguf, writeGguf } from "../../src/gguf/index.ts";
import { ErrorDocument, GenerateDocument } from "./documents.ts";
import { runNoodle, tempPath } from "./noodle.ts";

const LIMIT_MS = 120_000;

/** A model of an architecture that has llama's tensors and that no test covers. */
async function makeModel(architecture: string, layers: number): Promise<string> {
  const [source, path] = [tempPath(`llama-${layers}.gguf`), tempPath(`${architecture}-${layers}.gguf`)];
  const shape = [
    "--layers",
    String(layers),
    "--embd",
    "64",
    "--heads",
    "2",
    "--kv-heads",
    "2",
    "--ff",
    "64",
    "--vocab",
    "300",
  ];
  expect((await runNoodle(["dummy", "llama", ...shape, "--no-tied", "--type", "f32", "-o", source])).code).toBe(0);
  const file = await openGguf(source);
  const metadata = new Map<string, GgufValue>();
  for (const [key, value] of file.header.metadata) metadata.set(key.replace(/^llama\./, `${architecture}.`), value);
  metadata.set("general.architecture", { type: "string", value: architecture });
  await writeGguf(path, {
    metadata,
    tensors: file.header.tensors.map((tensor) => ({
      name: tensor.name,
      dims: tensor.dims,
      type: tensor.type,
      data: () => file.streamRange(tensor.shard, tensor.fileOffset, tensor.bytes),
    })),
  });
  await file.close();
  return path;
}

describe("an architecture that no test covers", () => {
  const ask = ["-p", "hello", "-n", "4", "--workers", "2", "--json"];

  test("is refused with the flag's name, and runs with the flag after a verification", {
    timeout: LIMIT_MS,
  }, async () => {
    const path = await makeModel("xverse", 4);
    const refused = await runNoodle(["generate", path, ...ask]);
    const error = ErrorDocument.parse(JSON.parse(refused.stdout));
    expect({ exit: refused.code, code: error.code }).toEqual({ exit: 2, code: "MODEL_UNVERIFIED" });
    expect(error.message).toMatch(/xverse.*--unverified/);
    const run = await runNoodle(["generate", path, ...ask, "--unverified", "--verify"]);
    expect(run.stderr).toContain("verifying the split");
    expect({ code: run.code, ...GenerateDocument.parse(JSON.parse(run.stdout)).verify }).toMatchObject({
      code: 0,
      identical_kv: true,
    });
    const cut = ["cut", path, "--units", "0:2", "-o", tempPath("xverse-stage.gguf"), "--json"];
    expect((await runNoodle(cut)).code).toBe(2);
    expect((await runNoodle([...cut, "--unverified"])).code).toBe(0);
  });

  test("whose graph depends on the number of layers is not cut, flag or not", { timeout: LIMIT_MS }, async () => {
    // With 40 layers this architecture places tokens by another method than with fewer: its stages compute something else.
    const path = await makeModel("baichuan", 40);
    const run = await runNoodle(["generate", path, ...ask, "--unverified"]);
    expect({ exit: run.code, code: ErrorDocument.parse(JSON.parse(run.stdout)).code }).toEqual({
      exit: 1,
      code: "VERIFY_FAILED",
    });
  });
});
