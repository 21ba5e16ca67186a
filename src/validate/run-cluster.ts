import { createServer } from "node:net";
import { once } from "node:events";
import { LocalCluster } from "../cluster/local/index.ts";
import type { PromptTokenizer } from "../cluster/coordinator/index.ts";
import { must, NoodleError } from "../common/index.ts";
import { formatSplit } from "../model/index.ts";
import { ShapedLink, type Toxic } from "../shaper/index.ts";
import { RunObserver } from "./run-observer.ts";
import type { LinkShape, RunLoad, RunSetup } from "./types.ts";

/** What all runs of a validation have in common. */
export interface RunContext {
  readonly model: string;
  readonly tokenizer: PromptTokenizer & { readonly vocabSize: number };
  /** Compiled entry of the `noodle` command. */
  readonly entry: string;
  readonly load: RunLoad;
  /** Of each worker: times that its calls take as long. */
  readonly slowness: readonly number[];
  /** Null = the links as they are. */
  readonly shape: LinkShape | null;
  readonly threads: number;
  readonly signal: AbortSignal;
}

const READY_TIMEOUT_MS = 120_000;

/** The workers of a plan, each as slow as it is to be, behind links as they are to be. */
export class RunCluster {
  readonly cluster: LocalCluster;
  readonly observer: RunObserver;
  readonly #links: readonly ShapedLink[];

  /**
   * @param dataDir keeps stage files, and what is known of the engine, from start to start
   * @throws as `LocalCluster.start`; `INTERNAL` when a worker got another stage than its own
   */
  static async start(context: RunContext, { plan, policy }: RunSetup, dataDir: string): Promise<RunCluster> {
    const { model, tokenizer, entry, load, slowness, shape, threads, signal } = context;
    const observer = new RunObserver();
    const links: ShapedLink[] = [];
    const ports: number[] = [];
    try {
      if (shape !== null) {
        for (const [index] of plan.stages.entries()) {
          const port = await findFreePort();
          ports.push(port);
          links.push(await ShapedLink.open({ targetPort: port, seed: 1 + index, toxics: listToxics(shape) }));
        }
      }
      const cluster = await LocalCluster.start(
        {
          model,
          tokenizer,
          entry,
          workers: plan.stages.length,
          inOrder: true,
          split: formatSplit(plan.stages),
          contextTokens: load.contextTokens,
          parallel: policy.slots,
          threads,
          dataDir,
          observer,
          sampleEvery: 0,
          hooks: false,
          prefixCacheBytes: 0,
          decodeInFlight: policy.decodeInFlight,
          prefillRows: policy.prefillRows,
          mixedPrefillRows: policy.mixedPrefillRows,
          readyTimeoutMs: READY_TIMEOUT_MS,
          workerArgs: (index) => [
            "--emulate-speed",
            String(must(slowness[must(plan.stages[index], "stage").worker], "speed")),
            ...listenArgs(ports[index], links[index]),
          ],
        },
        { signal },
      );
      checkOrder(cluster);
      return new RunCluster(cluster, observer, links);
    } catch (error) {
      await Promise.all(links.map((link) => link.close()));
      throw error;
    }
  }

  private constructor(cluster: LocalCluster, observer: RunObserver, links: readonly ShapedLink[]) {
    this.cluster = cluster;
    this.observer = observer;
    this.#links = links;
  }

  async close(): Promise<void> {
    await this.cluster.close();
    await Promise.all(this.#links.map((link) => link.close()));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

function listToxics({ latencyMs, jitterMs, bytesPerMs }: LinkShape): readonly Toxic[] {
  return (["upstream", "downstream"] as const).flatMap((direction): Toxic[] => [
    ...(bytesPerMs === null
      ? []
      : [{ type: "bandwidth", name: `bandwidth ${direction}`, direction, bytesPerMs } as const]),
    { type: "latency", name: `latency ${direction}`, direction, latencyMs, jitterMs },
  ]);
}

function listenArgs(port: number | undefined, link: ShapedLink | undefined): readonly string[] {
  if (port === undefined || link === undefined) return [];
  return ["--listen", `127.0.0.1:${port}`, "--advertise", `127.0.0.1:${link.port}`];
}

function checkOrder({ coordinator }: LocalCluster): void {
  const { stages, nodes } = coordinator.status();
  for (const [index, { node }] of stages.entries()) {
    const name = nodes.find(({ id }) => id === node)?.name;
    if (name === `worker-${index + 1}`) continue;
    throw new NoodleError("INTERNAL", `stage ${index} went to ${name ?? "nobody"}, not to worker ${index + 1}`);
  }
}

async function findFreePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new NoodleError("INTERNAL", "no port is free");
  return address.port;
}
