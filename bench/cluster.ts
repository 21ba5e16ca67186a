import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { GenerateEvent } from "../src/cluster/coordinator/index.ts";
import { LocalCluster, type LocalClusterOptions } from "../src/cluster/local/index.ts";
import { Tokenizer } from "../src/engine/index.ts";

const ENTRY = fileURLToPath(new URL("../dist/cli/main.js", import.meta.url));

export type Done = Extract<GenerateEvent, { type: "done" }>;

/** A cluster of real worker processes on this machine, with a data folder that lives as long as the bench. */
export class BenchCluster {
  readonly cluster: LocalCluster;
  readonly #tokenizer: Tokenizer;
  readonly #dataDir: string | null;

  private constructor(cluster: LocalCluster, tokenizer: Tokenizer, dataDir: string | null) {
    this.cluster = cluster;
    this.#tokenizer = tokenizer;
    this.#dataDir = dataDir;
  }

  static async start(
    model: string,
    options: Pick<LocalClusterOptions, "workers" | "threads" | "contextTokens" | "parallel" | "split" | "dataDir">,
  ): Promise<BenchCluster> {
    const tokenizer = Tokenizer.open(model);
    const dataDir = options.dataDir ?? (await mkdtemp(join(tmpdir(), "noodle-bench-")));
    const cluster = await LocalCluster.start(
      { model, tokenizer, entry: ENTRY, prefillRows: 512, ...options, dataDir },
      { signal: new AbortController().signal },
    );
    return new BenchCluster(cluster, tokenizer, options.dataDir === undefined ? dataDir : null);
  }

  async generate(prompt: Int32Array, maxTokens: number): Promise<Done> {
    const events = this.cluster.coordinator.generate(
      { prompt: [...prompt], maxTokens, ignoreEos: true },
      new AbortController().signal,
    );
    for await (const event of events) if (event.type === "done") return event;
    throw new Error("the generation ended without a summary");
  }

  async close(): Promise<void> {
    await this.cluster.close();
    this.#tokenizer.close();
    if (this.#dataDir !== null) await rm(this.#dataDir, { recursive: true, force: true });
  }
}
