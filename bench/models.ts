import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { openGguf } from "../src/gguf/index.ts";
import { generateDummy, hashModel, sourceFromFile, type UnitRange, writeStage } from "../src/model/index.ts";
import type { BenchContext } from "./lib.ts";

/** The shape that figures are stated for: random weights, since arithmetic costs the same whatever the values. */
export async function prepareModel(context: BenchContext, like = "llama-1b", type = "q4_0"): Promise<string> {
  mkdirSync(context.cacheFolder, { recursive: true });
  const path = join(context.cacheFolder, `${like}-${type}.gguf`);
  if (!existsSync(path)) {
    context.log(`writing ${path}`);
    await generateDummy({ like, type, seed: 1 }, path);
  }
  return path;
}

export async function prepareStage(context: BenchContext, model: string, range: UnitRange): Promise<string> {
  const path = model.replace(/\.gguf$/, `-${range.first}-${range.end}.gguf`);
  if (!existsSync(path)) {
    context.log(`cutting ${path}`);
    await using file = await openGguf(model);
    await writeStage(sourceFromFile(file), file.header, range, path, { hashes: await hashModel(file) });
  }
  return path;
}

/** Token ids that every model of the benches knows, the same for every subject, other ones for every repetition. */
export function makePrompt(rows: number, repetition: number): Int32Array {
  return Int32Array.from(
    { length: rows },
    (_, i) => 300 + ((Math.imul(i + 1 + repetition * 7919, 2654435761) >>> 8) % 20_000),
  );
}
