import { existsSync, mkdirSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { generateDummy } from "../../src/model/index.ts";
import type { BenchContext } from "../lib.ts";
import { prepareModel } from "../models.ts";

/** A model that workers die over. */
export interface RecoverModel {
  readonly name: string;
  readonly path: string;
}

const REAL_MODEL = join(homedir(), ".cache", "noodlecore", "models", "SmolLM2-135M-Instruct.Q4_1.gguf");

/** Wide enough for blocks of 256 weights, small enough for very many runs. */
const SMALL = { architecture: "llama", layers: 10, embd: 512, heads: 8, kvHeads: 4, ff: 1536, vocab: 4096 };

/** The models that times are stated for; the real one is left out where it is not there. */
export async function prepareTimedModels(context: BenchContext): Promise<readonly RecoverModel[]> {
  const shape = { name: "1B shape Q4_0", path: await prepareModel(context) };
  if (existsSync(REAL_MODEL)) return [{ name: "real 135M Q4_1", path: REAL_MODEL }, shape];
  context.log(`${REAL_MODEL} is not there: scripts/fetch-real-model.sh gets it`);
  return [shape];
}

/** A small model of each of the three kinds of weights that bits are compared for. */
export async function prepareTypedModels(context: BenchContext): Promise<readonly RecoverModel[]> {
  mkdirSync(context.cacheFolder, { recursive: true });
  const models: RecoverModel[] = [];
  for (const type of ["q4_0", "q4_k_m", "f16"]) {
    const path = join(context.cacheFolder, `recover-${type}.gguf`);
    if (!existsSync(path)) await generateDummy({ ...SMALL, type, seed: 5 }, path);
    models.push({ name: `small ${type}`, path });
  }
  return models;
}
