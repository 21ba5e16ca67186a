import type { Command } from "commander";
import type { StatusDocument } from "../../cluster/coordinator/index.ts";
import { DEFAULT_GRPC_PORT } from "../../protocol/index.ts";
import { NoodleError } from "../../common/index.ts";
import { formatHostPort, LOOPBACK, parseHostPort } from "../addresses.ts";
import { ApiClient, readApiUrl } from "../api-client.ts";
import { readOperatorSecurity } from "../cluster-security.ts";
import { type CommandContext, defineCommand, openContext } from "../command.ts";
import type { CliHost } from "../host.ts";
import type { Output } from "../output.ts";
import { countNoun, formatBytes } from "../quantities.ts";
import { describePlanStatus } from "../plan-status.ts";
import { RemoteCluster, requireStatus } from "../remote-cluster.ts";
import { renderTable } from "../table.ts";

interface StatusOptions {
  readonly json?: boolean;
  readonly coordinator: string;
  readonly url?: string;
  readonly model?: string;
}

export function addStatus(program: Command, host: CliHost): void {
  defineCommand(program, {
    usage: "status",
    summary: "show a running cluster: nodes, stages, sessions, health",
    examples: [
      "noodle status",
      "noodle status --coordinator 10.0.0.5:7421 --json",
      "noodle status --url http://10.0.0.5:7420 --model small",
    ],
  })
    .option("--coordinator <host:port>", "gRPC address of the coordinator", `${LOOPBACK}:${DEFAULT_GRPC_PORT}`)
    .option("--url <url>", "HTTP address of the coordinator, instead of gRPC")
    .option("--model <id>", "with --url: which of several models (default: the first)")
    .action((options: StatusOptions) => showStatus(openContext(host, options), options));
}

async function showStatus(context: CommandContext, options: StatusOptions): Promise<void> {
  const { out } = context;
  const status = await readStatus(context, options);
  out.document({ ...status });
  printStatus(out, status);
}

async function readStatus({ host, signal }: CommandContext, options: StatusOptions): Promise<StatusDocument> {
  const { url, model } = options;
  if (url === undefined) {
    if (model !== undefined) {
      throw new NoodleError("USAGE", "--model needs --url: over gRPC each model has a port of its own");
    }
    const cluster = new RemoteCluster(
      formatHostPort(parseHostPort(options.coordinator, "--coordinator")),
      readOperatorSecurity(host.env),
    );
    try {
      return await cluster.status(signal);
    } finally {
      cluster.close();
    }
  }
  const client = new ApiClient(readApiUrl(url, "--url"), host.env["NOODLE_API_KEY"] ?? null);
  try {
    const query = model === undefined ? "" : `?model=${encodeURIComponent(model)}`;
    return requireStatus(await client.ask("GET", `v1/status${query}`, undefined, signal), client.host);
  } finally {
    client.close();
  }
}

function printStatus(out: Output, status: StatusDocument): void {
  const { coordinator, health } = status;
  out.line(`${coordinator.model.path}: ${health.status}${health.reason === null ? "" : `, ${health.reason}`}`);
  if (health.error !== null) out.line(`  ${health.error.code} on ${health.error.node}: ${health.error.message}`);
  out.line(
    `coordinator ${coordinator.address}, pid ${coordinator.pid}, ${formatBytes(coordinator.rss_bytes)} resident, ${formatShare(coordinator.cpu_ratio)} of the CPU, plan ${coordinator.epoch ?? "-"}, context ${coordinator.context_tokens}, ${coordinator.parallel} sessions at most`,
  );
  for (const line of describePlanStatus(status)) out.line(line);
  out.line(describeServing(status.serving));
  out.line();
  out.data(
    renderTable(
      [
        { title: "node" },
        { title: "name" },
        { title: "address" },
        { title: "pid", align: "right" },
        { title: "state" },
        { title: "units" },
        { title: "weights", align: "right" },
        { title: "received", align: "right" },
        { title: "resident", align: "right" },
        { title: "engine busy", align: "right" },
        { title: "clock ms", align: "right" },
      ],
      status.nodes.map((node) => [
        node.id,
        node.name,
        node.address,
        String(node.pid),
        node.state,
        node.units ?? "-",
        formatBytes(node.weights_bytes),
        formatBytes(node.weights_bytes_received),
        formatBytes(node.rss_bytes),
        formatShare(status.stages.find((stage) => stage.node === node.id)?.engine_busy_ratio ?? null),
        formatClock(node),
      ]),
    ),
  );
  for (const node of status.nodes)
    if (node.error !== null) out.line(`${node.name}: ${node.error.code}: ${node.error.message}`);
  out.line();
  out.line(status.sessions.length === 0 ? "no sessions" : "sessions:");
  for (const session of status.sessions) {
    out.line(`  ${session.id}: ${session.prompt_tokens} prompt tokens, ${session.generated_tokens} generated`);
  }
}

/** Who runs and waits, and what prompts found there already. */
function describeServing({
  running,
  queued,
  queue_limit,
  determinism,
  prefix_cache,
}: StatusDocument["serving"]): string {
  const { hits, misses, reused_tokens, slots, tokens } = prefix_cache;
  return (
    `serving ${determinism}: ${running} running, ${queued} of at most ${queue_limit} waiting; ` +
    `${hits} of ${countNoun(hits + misses, "prompt")} began like a former one, ${countNoun(reused_tokens, "token")} reused, ` +
    `${countNoun(tokens, "token")} kept in ${countNoun(slots, "idle sequence")}`
  );
}

function formatShare(ratio: number | null): string {
  return ratio === null ? "-" : `${(ratio * 100).toFixed(1)}%`;
}

/** The node's clock minus the coordinator's, and how far that may be off. */
function formatClock({
  clock_offset_ms: offset,
  clock_uncertainty_ms: doubt,
}: StatusDocument["nodes"][number]): string {
  return offset === null || doubt === null ? "-" : `${offset.toFixed(3)} ± ${doubt.toFixed(3)}`;
}
