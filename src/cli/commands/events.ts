import { setTimeout as sleep } from "node:timers/promises";
import type { Command } from "commander";
import { NoodleError } from "../../common/index.ts";
import { findLogChains, LogCounter, type LogRow, type LogRows, mergeLogs } from "../../logs/index.ts";
import { type CommandContext, defineCommand, openContext } from "../command.ts";
import type { CliHost } from "../host.ts";
import { stripControls } from "../plain-text.ts";
import { readProfileFile } from "../profile-choice.ts";
import { refineFromLogs } from "../refine-profile.ts";
import { renderTable } from "../table.ts";
import { writeWhole } from "../write-whole.ts";

interface EventsOptions {
  readonly json?: boolean;
  readonly follow?: boolean;
  readonly refine?: string;
  readonly out?: string;
}

type StoryRow = LogRows["event"] | LogRows["plan"];

const POLL_MS = 1000;
const NAME_WIDTH = 20;

export function addEvents(program: Command, host: CliHost): void {
  defineCommand(program, {
    usage: "events <paths...>",
    summary: "tell the story of a cluster from its logs: who came and went, plans, drift, decisions",
    examples: [
      "noodle events noodle-run-20261123-114501",
      "noodle events logs/ --follow",
      "noodle events logs/ --json",
    ],
  })
    .option("--follow", "go on with what is written from now on, until interrupted; with --json a line for each row")
    .option("--refine <node=profile>", "instead: refine a node's profile from the decode steps that it computed")
    .option("--out <file>", "of --refine: where the refined profile is written to")
    .action((paths: readonly string[], options: EventsOptions) => {
      const context = openContext(host, options);
      return options.refine === undefined
        ? showEvents(context, paths, options)
        : refine(context, paths, options.refine, options.out);
    });
}

async function showEvents(
  { out, host, signal }: CommandContext,
  paths: readonly string[],
  { follow = false }: EventsOptions,
): Promise<void> {
  const told = new Map<string, number>();
  let beganNs: number | null = null;
  const show = (row: StoryRow): void => {
    beganNs ??= row.time_unix_ns;
    out.data(describeStoryRow(row, beganNs));
  };
  if (out.json && !follow) {
    out.document({ schema: "noodle.events.v1", rows: await readStory(paths, told, signal, out) });
    return;
  }
  for (;;) {
    for (const row of await readStory(paths, told, signal, out)) {
      if (out.json) host.stdout.write(`${JSON.stringify(row)}\n`);
      else show(row);
    }
    if (!follow) break;
    try {
      await sleep(POLL_MS, undefined, { signal });
    } catch {
      return;
    }
  }
  if (beganNs === null) out.note(`${paths.join(", ")}: nothing has happened yet`);
}

async function refine(
  { out, signal }: CommandContext,
  paths: readonly string[],
  wanted: string,
  target: string | undefined,
): Promise<void> {
  const [, node, path] = /^([^=]+)=(.+)$/.exec(wanted) ?? [];
  if (node === undefined || path === undefined) {
    throw new NoodleError("USAGE", `--refine ${wanted}: it is written NODE=PROFILE, for example w1=run/profile.json`);
  }
  const profile = await readProfileFile(path);
  const chains = (await findLogChains(paths)).filter(
    ({ stream }) => stream === null || stream === "step" || stream === "plan",
  );
  const { costs, classes, errorBefore, errorAfter, samples } = await refineFromLogs(
    chains,
    node,
    profile.cost_model,
    signal,
  );
  if (target !== undefined) await writeWhole(target, `${JSON.stringify({ ...profile, cost_model: costs }, null, 2)}\n`);
  out.data(
    renderTable(
      [
        { title: "class" },
        { title: "phase" },
        { title: "calls", align: "right" },
        { title: "of the profile", align: "right" },
        { title: "" },
      ],
      classes.map((one) => [
        flatten(one.name),
        one.phase,
        String(one.samples),
        `${one.ratio.toFixed(3)}x`,
        one.alarm ? "off by more than 10%" : "",
      ]),
    ),
  );
  const percent = (ratio: number): string => `${(100 * ratio).toFixed(1)}%`;
  out.line(
    `${samples} steps of ${flatten(node)}: the profile is off by ${percent(errorBefore)}, refined by ${percent(errorAfter)}`,
  );
  if (classes.some(({ alarm }) => alarm)) {
    out.note("warning: the profile does not hold any more: measure anew with `noodle profile`, or use the refined one");
  }
  out.document({
    schema: "noodle.refined.v1",
    node,
    samples,
    error_before_ratio: errorBefore,
    error_after_ratio: errorAfter,
    classes: classes.map((one) => ({ ...one })),
    path: target ?? null,
  });
}

/** Rows of the story that were not told yet, in the order of time. @param told last number by producer, run and stream */
async function readStory(
  paths: readonly string[],
  told: Map<string, number>,
  signal: AbortSignal,
  out: CommandContext["out"],
): Promise<StoryRow[]> {
  const chains = (await findLogChains(paths)).filter(
    ({ stream }) => stream === null || stream === "event" || stream === "plan",
  );
  const counter = new LogCounter();
  const story: StoryRow[] = [];
  const isFirst = told.size === 0;
  for await (const rows of mergeLogs(chains, { counter, signal })) {
    for (const row of rows) {
      if (!isStory(row)) continue;
      const key = JSON.stringify([row.schema, row.producer_id, row.run_id]);
      if (row.seq <= (told.get(key) ?? -1)) continue;
      told.set(key, row.seq);
      story.push(row);
    }
  }
  const { badLines, rows } = counter.summarise();
  if (rows === 0 && badLines > 0) {
    throw new NoodleError("LOG_MALFORMED", `${paths.join(", ")}: ${badLines} lines, and none of them a log row`);
  }
  if (isFirst && badLines > 0) out.note(`${badLines} bad lines were passed over; ${rows} rows were good`);
  return story;
}

function isStory(row: LogRow): row is StoryRow {
  return row.schema === "noodle.event.v1" || row.schema === "noodle.plan.v1";
}

/** Time since the first row, what happened, to whom, and in words. */
function describeStoryRow(row: StoryRow, beganNs: number): string {
  const time = new Date(row.time_unix_ns / 1e6).toISOString().slice(11, 23);
  const since = `+${((row.time_unix_ns - beganNs) / 1e9).toFixed(1)}s`.padStart(10);
  if (row.schema === "noodle.plan.v1") {
    const stages = row.stages.map(({ units, node_id: node }) => `${units} on ${node ?? "nobody"}`).join(", ");
    return `${time} ${since}  ${"plan".padEnd(NAME_WIDTH)}  ${flatten(`plan ${row.epoch}: ${stages} (${row.reason})`)}\n`;
  }
  const mark = row.severity === "info" ? "" : `${row.severity}: `;
  const about = row.node_id === null || row.message.includes(row.node_id) ? "" : `${row.node_id}: `;
  return `${time} ${since}  ${flatten(row.name).padEnd(NAME_WIDTH)}  ${flatten(`${mark}${about}${row.message}`)}\n`;
}

/** Words of a log must not steer the terminal, nor begin a line of their own. */
function flatten(text: string): string {
  return stripControls(text).replaceAll(/\s+/g, " ");
}
