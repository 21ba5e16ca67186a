import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openStage, type Stage, StageChain, type StageConfig } from "../../src/engine/index.ts";
import { openGguf } from "../../src/gguf/index.ts";
import {
  type DummyOptions,
  formatRange,
  generateDummy,
  hashModel,
  type ModelHashes,
  sourceFromFile,
  type UnitRange,
  writeStage,
} from "../../src/model/index.ts";

export type EngineConfig = Omit<StageConfig, "stageFile">;

/** A model file and the stages cut from it, in a folder of their own. */
export class CutModel {
  readonly folder: string;
  readonly path: string;
  readonly #hashes: ModelHashes;

  private constructor(folder: string, path: string, hashes: ModelHashes) {
    this.folder = folder;
    this.path = path;
    this.#hashes = hashes;
  }

  static async fromDummy(options: DummyOptions): Promise<CutModel> {
    const folder = await mkdtemp(join(tmpdir(), "noodle-cut-"));
    const path = join(folder, "model.gguf");
    await generateDummy(options, path);
    return CutModel.#open(folder, path);
  }

  static async fromFile(path: string): Promise<CutModel> {
    return CutModel.#open(await mkdtemp(join(tmpdir(), "noodle-cut-")), path);
  }

  static async #open(folder: string, path: string): Promise<CutModel> {
    await using file = await openGguf(path);
    return new CutModel(folder, path, await hashModel(file));
  }

  async cut(range: UnitRange): Promise<string> {
    const path = join(this.folder, `stage-${range.first}-${range.end}.gguf`);
    await using file = await openGguf(this.path);
    await writeStage(sourceFromFile(file), file.header, range, path, { hashes: this.#hashes });
    return path;
  }

  openWhole(config: EngineConfig): Promise<Stage> {
    return openStage({ stageFile: this.path, ...config });
  }

  async openChain(ranges: readonly UnitRange[], config: EngineConfig): Promise<StageChain> {
    const stages: Stage[] = [];
    try {
      for (const range of ranges) stages.push(await openStage({ stageFile: await this.cut(range), ...config }));
      return new StageChain(stages);
    } catch (error) {
      for (const stage of stages) stage.close();
      throw new Error(`stages ${ranges.map(formatRange).join(",")}`, { cause: error });
    }
  }

  async remove(): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }
}
