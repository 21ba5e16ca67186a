import { randomUUID } from "node:crypto";
import { join } from "node:path";
import type { Command } from "commander";
import { combineObservers, type Coordinator, type CoordinatorOptions } from "../cluster/coordinator/index.ts";
import { NoodleError } from "../common/index.ts";
import type { EngineIdentity } from "../engine/index.ts";
import type { ModelDescription } from "../model/index.ts";
import { type ClusterObserver, type HookLevel, readHookLevel } from "../observe/index.ts";
import { LogObserver, LogWriter } from "../logs/index.ts";
import { CoordinatorMetrics, LiveStats } from "../metrics/index.ts";
import { OtlpTelemetry, readOtlpUrl } from "../telemetry/index.ts";
import { TraceCollector } from "../trace/index.ts";
import type { CommandContext } from "./command.ts";
import { PACKAGE_VERSION } from "./package.ts";
import { readDriftProfile } from "./profile-choice.ts";
import { parseInteger } from "./quantities.ts";
import type { MetricsSource } from "./metrics-server.ts";

/** How a cluster is watched; the same for every command that starts a coordinator. */
export interface ObservingOptions {
  readonly logs?: string;
  readonly logText?: boolean;
  readonly otlp?: string;
  readonly sampleEvery?: number;
  readonly sampleLevel?: HookLevel;
  readonly hooks?: boolean;
  /** `FILE`, or `NODE=FILE`. */
  readonly profile?: readonly string[];
  readonly strict?: boolean;
}

export function addObservingOptions(command: Command): Command {
  return command
    .option("--logs <dir>", "write structured logs there: JSONL, a file for each stream")
    .option("--log-text", "the logs hold the prompts too")
    .option(
      "--otlp <url>",
      "send spans of requests to an OpenTelemetry collector (default: OTEL_EXPORTER_OTLP_ENDPOINT)",
    )
    .option("--sample-every <n>", "look into every n-th step closely, 0 = none (default: 50)", (text) =>
      parseInteger(text, "--sample-every", 0, 1_000_000_000),
    )
    .option("--sample-level <level>", "how closely: layer, role or node (default: layer)", (text) =>
      readHookLevel(text, "--sample-level"),
    )
    .option("--no-hooks", "open engines that can't be looked into")
    .option(
      "--profile <file>",
      "a profile of these machines: its cost model is held against every step; NODE=FILE is that of one node, to plan with; repeatable",
      (text: string, before: readonly string[] | undefined) => [...(before ?? []), text],
    )
    .option("--strict", "refuse a profile of another machine, build or model instead of warning");
}

/** The same options with a folder of its own for the logs of one of several models. */
export function placeLogs<T extends ObservingOptions>(options: T, id: string): T {
  return options.logs === undefined ? options : { ...options, logs: join(options.logs, id.replaceAll("/", "-")) };
}

export interface ObservedRun {
  readonly context: CommandContext;
  readonly options: ObservingOptions;
  readonly model: ModelDescription;
  /** SHA-256 of the model's GGUF header, hex; profiles name it. */
  readonly headerSha256: string;
  readonly engine: EngineIdentity;
  /** Threads of each stage; null where each worker chooses. */
  readonly threads: number | null;
}

/** Everything that watches one coordinator. Open it before the coordinator starts, close it behind its end. */
export class Watch implements AsyncDisposable {
  readonly traces: TraceCollector;
  /** For `Coordinator.start`, directly or through a local cluster. */
  readonly coordinatorOptions: Partial<CoordinatorOptions>;
  readonly #metrics: CoordinatorMetrics;
  readonly #logs: LogWriter | null;
  readonly #spans: OtlpTelemetry | null;

  /** @throws NoodleError `USAGE`, the errors of the profile, PROFILE_MISMATCH with `--strict` */
  static async open(run: ObservedRun): Promise<Watch> {
    const { context, options, model } = run;
    const name = model.name ?? model.architecture;
    if (options.logText === true && options.logs === undefined) {
      throw new NoodleError("USAGE", "--log-text needs --logs, the folder to write to");
    }
    // Profiles of single nodes are the planner's: what they predict depends on who computes.
    const common = options.profile?.find((text) => text.indexOf("=") <= 0);
    const predict = common === undefined ? null : await readDriftProfile(run, common);
    const otlp = options.otlp ?? context.host.env["OTEL_EXPORTER_OTLP_ENDPOINT"];
    const spans =
      otlp === undefined || otlp === ""
        ? null
        : await OtlpTelemetry.start({
            url: readOtlpUrl(otlp, options.otlp === undefined ? "OTEL_EXPORTER_OTLP_ENDPOINT" : "--otlp"),
            model: name,
            noodlecoreVersion: PACKAGE_VERSION,
          });
    const logs = options.logs === undefined ? null : await openLogs(run, options.logs, name);
    return new Watch(run, {
      logs,
      spans,
      metrics: new CoordinatorMetrics({
        build: { noodlecoreVersion: PACKAGE_VERSION, engineBuild: run.engine.build },
        model: name,
        ...(predict === null ? {} : { predict }),
        ...(logs === null ? {} : { readLogRowsDropped: () => logs.stats().rowsLost }),
        ...(spans === null ? {} : { readSpansDropped: () => spans.dropped }),
      }),
    });
  }

  private constructor(
    { context, options }: ObservedRun,
    parts: {
      readonly logs: LogWriter | null;
      readonly spans: OtlpTelemetry | null;
      readonly metrics: CoordinatorMetrics;
    },
  ) {
    this.traces = new TraceCollector();
    this.#logs = parts.logs;
    this.#spans = parts.spans;
    this.#metrics = parts.metrics;
    const live = new LiveStats();
    const observers: ClusterObserver[] = [this.traces, parts.metrics, live];
    const includeText = options.logText === true;
    if (parts.logs !== null) observers.push(new LogObserver(parts.logs, { includeText }));
    if (parts.spans !== null) observers.push(parts.spans);
    this.coordinatorOptions = {
      observer: combineObservers(...observers),
      readLive: () => live.snapshot(),
      traces: this.traces,
      observePrompts: includeText,
      onStateEvent: ({ message }) => context.out.note(message),
      hooks: options.hooks ?? true,
      ...(options.sampleEvery === undefined ? {} : { sampleEvery: options.sampleEvery }),
      ...(options.sampleLevel === undefined ? {} : { sampleLevel: options.sampleLevel }),
    };
  }

  /** From now on the metrics are those of this coordinator. @returns what renders them */
  show(coordinator: Coordinator): MetricsSource {
    this.#metrics.show(() => coordinator.status());
    return this.#metrics;
  }

  /** Writes what waits to be written. Closing twice is safe. */
  async close(): Promise<void> {
    await Promise.all([this.#logs?.close(), this.#spans?.close()]);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

async function openLogs({ context, model, engine }: ObservedRun, directory: string, name: string): Promise<LogWriter> {
  const writer = await LogWriter.create({
    directory,
    producerId: "coordinator",
    runId: randomUUID(),
    facts: { noodlecoreVersion: PACKAGE_VERSION, engineBuild: engine.build, engineVariant: engine.variant },
    onProblem: ({ name: event, message }) => context.out.note(`${event}: ${message}`),
  });
  writer.describe({ model: { name, units: model.units.length } });
  return writer;
}
