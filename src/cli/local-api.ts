import { LOOPBACK } from "./addresses.ts";
import type { ClusterOptions } from "./cluster-options.ts";
import type { CommandContext } from "./command.ts";
import { prepareEngine } from "./engine.ts";
import { chooseLocalThreads, withLocalCluster } from "./local-cluster.ts";
import { Serving } from "./serving.ts";
import { must } from "../common/index.ts";

export interface LocalApiRequest {
  readonly context: CommandContext;
  readonly model: string;
  readonly options: ClusterOptions;
  readonly workers: number;
}

/**
 * Starts a cluster on this machine whose HTTP API listens on loopback and a free port, runs `use`, and ends all of it,
 * however `use` ends.
 */
export async function withLocalApi<T>(request: LocalApiRequest, use: (url: URL) => Promise<T>): Promise<T> {
  const { context, model, options, workers } = request;
  prepareEngine(context.host.env);
  const threads = chooseLocalThreads(options.threads, workers);
  await using serving = await Serving.open({
    context,
    options: {},
    models: [model],
    host: LOOPBACK,
    port: 0,
    page: false,
  });
  const cluster = { context, model, options, threads, workers, serving: {} };
  return await withLocalCluster(cluster, async ({ coordinator }, tokenizer) => {
    serving.add(must(serving.models[0], "model"), { coordinator, tokenizer, metrics: null });
    try {
      return await use(new URL(`${serving.url}/`));
    } finally {
      await serving.close();
    }
  });
}
