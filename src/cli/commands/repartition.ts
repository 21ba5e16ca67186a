import type { Command } from "commander";
import type { ReplanDocument, StatusDocument } from "../../cluster/coordinator/index.ts";
import { NoodleError } from "../../common/index.ts";
import { DEFAULT_GRPC_PORT } from "../../protocol/index.ts";
import { formatHostPort, LOOPBACK, parseHostPort } from "../addresses.ts";
import { readOperatorSecurity } from "../cluster-security.ts";
import { type CommandContext, defineCommand, openContext } from "../command.ts";
import type { CliHost } from "../host.ts";
import type { Output } from "../output.ts";
import { readPlanFile } from "../plan-file.ts";
import { describePlanStatus, describeSides } from "../plan-status.ts";
import { formatBytes } from "../quantities.ts";
import { RemoteCluster } from "../remote-cluster.ts";
import { renderTable } from "../table.ts";
import { wait } from "../waiting.ts";

interface RepartitionOptions {
  readonly json?: boolean;
  readonly coordinator: string;
  readonly plan?: string;
  readonly drain?: string;
  readonly dryRun?: boolean;
  readonly wait?: boolean;
}

const POLL_MS = 250;

export function addRepartition(program: Command, host: CliHost): void {
  defineCommand(program, {
    usage: "repartition",
    summary: "show the plan of a running cluster, or give it another one",
    examples: [
      "noodle repartition --coordinator 10.0.0.5:7421",
      "noodle repartition --coordinator 10.0.0.5:7421 --plan plan.json --dry-run",
      "noodle repartition --coordinator 10.0.0.5:7421 --plan plan.json",
      "noodle repartition --coordinator 10.0.0.5:7421 --drain worker-2",
    ],
  })
    .option("--coordinator <host:port>", "gRPC address of the coordinator", `${LOOPBACK}:${DEFAULT_GRPC_PORT}`)
    .option("--plan <file>", "the new plan, as `noodle plan -o` writes it (default: only show the present one)")
    .option("--drain <node>", "give the units of this worker to the others: it gets none until it is started again")
    .option("--dry-run", "say what would move, and change nothing")
    .option("--no-wait", "return as soon as the plan is being prepared")
    .action((options: RepartitionOptions) => repartition(openContext(host, options), options));
}

async function repartition(context: CommandContext, options: RepartitionOptions): Promise<void> {
  const { out, signal } = context;
  const plan = options.plan === undefined ? null : await readPlanFile(options.plan);
  const { drain } = options;
  if (plan === null && drain === undefined && options.dryRun === true) {
    throw new NoodleError("USAGE", "--dry-run needs --plan, the new plan, or --drain");
  }
  if (plan !== null && drain !== undefined) throw new NoodleError("USAGE", "give --plan or --drain, not both");
  const cluster = new RemoteCluster(
    formatHostPort(parseHostPort(options.coordinator, "--coordinator")),
    readOperatorSecurity(context.host.env),
  );
  try {
    if (plan === null && drain === undefined) {
      const status = await cluster.status(signal);
      out.document({ schema: "noodle.repartition.v1", plan: status.plan });
      for (const line of describePlanStatus(status)) out.line(line);
      return;
    }
    const reason = `${options.plan ?? ""} was given by hand`;
    const answer =
      plan === null
        ? await cluster.drain(drain ?? "", options.dryRun === true, signal)
        : await cluster.replan(plan, reason, options.dryRun === true, signal);
    showMoves(out, answer);
    const isOver = options.wait === false || answer.epoch === null;
    const status = isOver ? null : await followPlan(context, cluster, answer.epoch ?? 0);
    out.document({ ...answer, plan: status?.plan ?? null });
  } finally {
    cluster.close();
  }
}

function showMoves(out: Output, answer: ReplanDocument): void {
  out.line(`now:  ${describeSides(answer.from)}`);
  out.line(`then: ${describeSides(answer.to)}`);
  if (!answer.changes) {
    out.line("this plan is in force already");
    return;
  }
  out.data(
    renderTable(
      [{ title: "node" }, { title: "has" }, { title: "gets" }, { title: "new weights", align: "right" }],
      answer.moves.map(({ node, from, to, new_bytes: bytes }) => [node, from ?? "-", to ?? "-", formatBytes(bytes)]),
    ),
  );
  out.line(
    `${formatBytes(answer.new_bytes)} of weights get another holder; what workers have as a file, or in their store, is not sent`,
  );
  out.note("sessions that run move to the new plan one by one, between two tokens");
}

/** Says what becomes of the plan until it is in force. @throws what it was given up for */
async function followPlan(
  { out, signal }: CommandContext,
  cluster: RemoteCluster,
  epoch: number,
): Promise<StatusDocument> {
  let said = "";
  for (;;) {
    const status = await cluster.status(signal);
    const { plan } = status;
    const isOver = plan !== null && plan.next === null && plan.epoch >= epoch;
    if (isOver && status.health.status === "ready") {
      for (const line of describePlanStatus(status)) out.line(line);
      return status;
    }
    if (plan?.next === null && plan.epoch < epoch) {
      const why = plan.refused ?? { code: "INTERNAL", message: "nothing is known of it" };
      throw new NoodleError(
        "PLAN_INFEASIBLE",
        `plan ${epoch} was given up (${why.code}: ${why.message}); plan ${plan.epoch} stays in force`,
      );
    }
    const state = plan === null ? "" : (describePlanStatus(status).at(-1) ?? "");
    if (state !== said) out.progress.phase(state.trim());
    said = state;
    await wait(POLL_MS, signal);
    signal.throwIfAborted();
  }
}
