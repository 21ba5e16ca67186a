import { NoodleError } from "../../common/index.ts";
import type { HostAssignment, LoadedStage } from "./host-messages.ts";
import type { AsyncEngine } from "./stage-thread.ts";

/** An engine and the stage that it has loaded. */
export class EngineHolder {
  readonly engine: AsyncEngine;
  #loaded: LoadedStage | undefined;
  #key = "";

  constructor(engine: AsyncEngine) {
    this.engine = engine;
  }

  get loaded(): LoadedStage | undefined {
    return this.#loaded;
  }

  /**
   * Loads and tests a stage, unless the very same is loaded.
   *
   * @throws the engine's errors; CANARY_MISMATCH when the self-test gives two results
   */
  async load(assignment: HostAssignment): Promise<LoadedStage> {
    const { epoch, stageFile, contextTokens, parallel, threads, maxRows, hooks } = assignment;
    const config = { stageFile, contextTokens, parallel, threads, maxRows, hookable: hooks };
    const key = JSON.stringify(config);
    if (this.#loaded !== undefined && this.#key === key) return this.#loaded;
    this.#loaded = undefined;
    const info = await this.engine.load(config);
    const canarySha256 = await this.#selfTest();
    const rowClassesJson = await this.engine.probe();
    this.#key = key;
    this.#loaded = { epoch, info, canarySha256, rowClassesJson };
    return this.#loaded;
  }

  async #selfTest(): Promise<string> {
    const first = await this.engine.canary();
    const second = await this.engine.canary();
    if (first === second) return first;
    throw new NoodleError("CANARY_MISMATCH", "the self-test gave two results for one input", {
      details: { first, second },
    });
  }
}
