import type { Command } from "commander";
import { DEFAULT_GRPC_PORT, DEFAULT_HTTP_PORT } from "../../protocol/index.ts";
import { LOOPBACK, parsePort } from "../addresses.ts";
import { addClusterOptions, type ClusterOptions, parseWorkers } from "../cluster-options.ts";
import { type CommandContext, defineCommand, openContext } from "../command.ts";
import { prepareEngine } from "../engine.ts";
import type { CliHost } from "../host.ts";
import { chooseLocalThreads, withLocalCluster } from "../local-cluster.ts";
import { addObservingOptions, describeModelFile, type ObservingOptions, Watch } from "../observing.ts";
import { StatusServer } from "../status-server.ts";
import { untilAborted } from "../waiting.ts";

interface UpOptions extends ClusterOptions, ObservingOptions {
  readonly json?: boolean;
  readonly workers: number;
  readonly port: number;
  readonly grpcPort: number;
}

export function addUp(program: Command, host: CliHost): void {
  const command = defineCommand(program, {
    usage: "up <model>",
    summary: "run a whole cluster on this machine until Ctrl-C: a coordinator and worker processes",
    examples: [
      "noodle up model.gguf --workers 2",
      "noodle up model.gguf --workers 3 --split 0:5,5:10,10:14 --port 8420 --grpc-port 8421",
    ],
  }).requiredOption("--workers <k>", "worker processes", (text) => parseWorkers(text, "--workers"));
  addObservingOptions(addClusterOptions(command))
    .option(
      "--port <port>",
      "HTTP port of status, health and metrics",
      (text) => parsePort(text, "--port"),
      DEFAULT_HTTP_PORT,
    )
    .option(
      "--grpc-port <port>",
      "gRPC port of the coordinator",
      (text) => parsePort(text, "--grpc-port"),
      DEFAULT_GRPC_PORT,
    )
    .action((model: string, options: UpOptions) => runCluster(openContext(host, options), model, options));
}

async function runCluster(context: CommandContext, model: string, options: UpOptions): Promise<void> {
  const { out, host, signal } = context;
  const described = await describeModelFile(model);
  const engine = prepareEngine(host.env);
  const { workers, grpcPort } = options;
  const threads = chooseLocalThreads(options.threads, workers);
  await using http = await StatusServer.start(LOOPBACK, options.port);
  await using watch = await Watch.open({ context, options, ...described, engine, threads });
  const watching = watch.coordinatorOptions;
  await withLocalCluster({ context, model, options, threads, workers, grpcPort, watching }, async ({ coordinator }) => {
    watch.show(http, coordinator);
    const { nodes } = coordinator.status();
    out.document({
      schema: "noodle.up.v1",
      grpc_address: coordinator.address,
      http_address: http.address,
      pid: process.pid,
      context_tokens: coordinator.contextTokens,
      workers: nodes.map(({ name, address, pid, units }) => ({ name, address, pid, units })),
    });
    out.line(`ready: gRPC ${coordinator.address}, HTTP http://${http.address}/v1/status and /metrics`);
    for (const node of nodes)
      out.line(`  ${node.name}: units ${node.units ?? "-"} on ${node.address}, pid ${node.pid}`);
    out.note(
      `try: noodle generate --coordinator ${coordinator.address} -p "Once upon a time", or watch it: noodle top --coordinator ${coordinator.address}`,
    );
    await untilAborted(signal);
    signal.throwIfAborted();
  });
}
