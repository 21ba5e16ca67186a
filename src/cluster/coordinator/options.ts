import { NoodleError } from "../../common/index.ts";
import { DEFAULT_GRPC_PORT } from "../../protocol/index.ts";
import type { CoordinatorSecurity } from "./access.ts";
import { type Clock, MONOTONIC_CLOCK } from "./clock.ts";
import { type ClusterObserver, type EventRecord, type HookLevel, readHookLevel } from "../../observe/index.ts";
import { GRPC_TRANSPORT, type Transport } from "../../net/index.ts";
import type { ModelSource } from "./model-source.ts";
import { openState } from "./open-state.ts";
import type { Determinism } from "../../schedule/index.ts";
import type { WantedPlan } from "./replan-request.ts";
import type { PromptTokenizer } from "./tokenizer.ts";
import type { QueueLimits } from "./waiting-line.ts";

export interface CoordinatorOptions {
  /** Path of the model, or the model already opened; that one is closed with the coordinator. */
  readonly model: string | ModelSource;
  /** Of this model; stays the caller's. */
  readonly tokenizer: PromptTokenizer;
  /** Number of workers that the cluster starts with. */
  readonly expect: number;
  /** Holds the durable state: terms, plans, who holds which stages, hashes of models, the journal. */
  readonly dataDir: string;
  /** `0:6,6:14`. @default by bytes, embedding and head counted */
  readonly split?: string;
  /** The first plan: split, nodes and policy; instead of `split`. @default none */
  readonly plan?: WantedPlan;
  /** Tokens of context for each session. @default 4096, or the model's if that is less */
  readonly contextTokens?: number;
  /** Sessions at once. @default 8 */
  readonly parallel?: number;
  /** Threads of every stage. @default what each worker chooses */
  readonly threads?: number;
  /** CPU variant of the engine that all workers load. @default each worker's best */
  readonly cpuVariant?: string;
  /** Engine build that workers must have. @default that of the first worker */
  readonly engineBuild?: string;
  /** Lets workers run an architecture that is not verified. @default false */
  readonly unverified?: boolean;
  /** Address to listen on. @default "127.0.0.1" */
  readonly host?: string;
  /** 0 = any free port. @default 7421 */
  readonly grpcPort?: number;
  /** Most rows of a prompt's chunk. @default 256; 32 in strict */
  readonly prefillRows?: number;
  /** Rows of a chunk while others decode. @default by what steps take: as long as a decode step */
  readonly mixedPrefillRows?: number;
  /** Micro-batches of decode rows that are under way at once. @default by stages and what steps take */
  readonly decodeInFlight?: number;
  /**
   * `recorded` notes how each position was computed; `strict` computes each in a class that does not depend on what runs
   * beside. @default "recorded"
   */
  readonly determinism?: Determinism;
  /** Requests that wait for a slot at once; 0 = none waits. @default 16 */
  readonly queue?: number;
  /** The same of one named client. @default 4 */
  readonly queuePerClient?: number;
  /** Keys and values that idle slots keep for prompts that begin alike; 0 = none. @default all idle slots */
  readonly prefixCacheBytes?: number;
  /** A reader that takes nothing of what waits for it for this long is dropped. @default 30000 */
  readonly readerStallMs?: number;
  /** Largest number of rows in one step of a stage. @default 512 */
  readonly maxRows?: number;
  /** A worker that is silent for this long is lost. @default 3000 */
  readonly leaseMs?: number;
  /**
   * What runs when stages are lost waits this long for others, and goes on there; 0 = it ends at once.
   *
   * @default 60000
   */
  readonly recoveryWaitMs?: number;
  /** Longest time for one step through the whole pipeline. @default 120000 */
  readonly stepTimeoutMs?: number;
  /** How it knows who calls, and shows who it is. @default undefined: plaintext, and whoever reaches it may call */
  readonly security?: CoordinatorSecurity | undefined;
  readonly clock?: Clock;
  /** How it reaches workers and they reach it. @default gRPC */
  readonly transport?: Transport;
  /** Opens what it must not forget. @default SQLite in `dataDir` */
  readonly openState?: typeof openState;
  /** Told all that goes on; `combineObservers` makes one of several. @default nobody, and then nothing is recorded */
  readonly observer?: ClusterObserver;
  /** Looks into every so many steps; 0 = none but those of requests that ask for it. @default 50 */
  readonly sampleEvery?: number;
  /** How closely. @default "layer" */
  readonly sampleLevel?: HookLevel;
  /** Lets workers open engines that can look into their steps. @default true */
  readonly hooks?: boolean;
  /** Puts the prompts' texts into the records. @default false */
  readonly observePrompts?: boolean;
  /** Where clients read what a generation looked like from inside. @default nowhere: they are refused */
  readonly traces?: TraceSource;
  /** Live figures for the status document, made of what the observer was told. @default none */
  readonly readLive?: () => object;
  /** Told while a model is read whole to hash it, which happens at its first start only. */
  readonly onHashing?: (hashedBytes: number, totalBytes: number) => void;
  /** Told what befalls the durable state, for people to read: it was damaged, requests were cut off by the last stop. */
  readonly onStateEvent?: (event: EventRecord) => void;
  /**
   * Writes each request and each of its tokens to a journal before the token goes out: the next start goes on with what a
   * stop cut off.
   * @default false
   */
  readonly journal?: boolean;
  /** Interrupts the start. */
  readonly signal?: AbortSignal;
}

/** Traces of requests, by the id of the session. */
export interface TraceSource {
  /** @returns a document of schema `noodle.trace.v1`, or null when nothing is known of the request */
  readTrace(requestId: string): object | null;
}

export interface CompiledCoordinatorOptions {
  readonly expect: number;
  readonly dataDir: string;
  readonly split: string | null;
  readonly plan: WantedPlan | null;
  /** null = decided by the model. */
  readonly contextTokens: number | null;
  readonly parallel: number;
  /** 0 = each worker's choice. */
  readonly threads: number;
  /** "" = each worker's best. */
  readonly cpuVariant: string;
  readonly engineBuild: string | null;
  readonly unverified: boolean;
  readonly host: string;
  readonly grpcPort: number;
  /** null = chosen. */
  readonly prefillRows: number | null;
  readonly mixedPrefillRows: number | null;
  readonly decodeInFlight: number | null;
  readonly determinism: Determinism;
  readonly queue: QueueLimits;
  /** Infinity = all idle slots. */
  readonly prefixCacheBytes: number;
  readonly readerStallMs: number;
  readonly maxRows: number;
  readonly leaseMs: number;
  readonly recoveryWaitMs: number;
  readonly stepTimeoutMs: number;
  /** null = plaintext. */
  readonly security: CoordinatorSecurity | null;
  readonly clock: Clock;
  readonly transport: Transport;
  readonly openState: typeof openState;
  readonly observer: ClusterObserver | null;
  readonly sampleEvery: number;
  readonly sampleLevel: HookLevel;
  readonly hooks: boolean;
  readonly observePrompts: boolean;
  readonly traces: TraceSource | null;
  readonly readLive: (() => object) | null;
  readonly journal: boolean;
}

export const DEFAULT_CONTEXT_TOKENS = 4096;

/** With one synchronisation for each block of a stage, one step in 50 costs far less than a hundredth. */
const DEFAULT_SAMPLE_EVERY = 50;

/** Slots travel in 16 bits. */
const MAX_PARALLEL = 4096;
const MAX_CONTEXT_TOKENS = 1 << 24;
const MAX_ROWS = 4096;
const MAX_IN_FLIGHT = 1024;
const MAX_QUEUE = 1_000_000;

/** Fills in defaults. @throws USAGE for a value outside its range */
export function compileCoordinatorOptions(options: CoordinatorOptions): CompiledCoordinatorOptions {
  const maxRows = requireInteger(options.maxRows ?? 512, "maxRows", 1, MAX_ROWS);
  return {
    expect: requireInteger(options.expect, "--expect", 1, 1024),
    journal: options.journal ?? false,
    dataDir: options.dataDir,
    split: options.split ?? null,
    plan: options.plan ?? null,
    contextTokens:
      options.contextTokens === undefined
        ? null
        : requireInteger(options.contextTokens, "--context", 2, MAX_CONTEXT_TOKENS),
    parallel: requireInteger(options.parallel ?? 8, "--parallel", 1, MAX_PARALLEL),
    threads: requireInteger(options.threads ?? 0, "--threads", 0, 1024),
    cpuVariant: options.cpuVariant ?? "",
    engineBuild: options.engineBuild ?? null,
    unverified: options.unverified ?? false,
    host: options.host ?? "127.0.0.1",
    grpcPort: requireInteger(options.grpcPort ?? DEFAULT_GRPC_PORT, "--grpc-port", 0, 65_535),
    maxRows,
    prefillRows: readOptional(options.prefillRows, "--prefill-rows", 1, maxRows),
    mixedPrefillRows: readOptional(options.mixedPrefillRows, "--mixed-prefill-rows", 1, maxRows),
    decodeInFlight: readOptional(options.decodeInFlight, "--decode-in-flight", 1, MAX_IN_FLIGHT),
    determinism: readDeterminism(options.determinism ?? "recorded"),
    queue: {
      total: requireInteger(options.queue ?? 16, "--queue", 0, MAX_QUEUE),
      perClient: requireInteger(options.queuePerClient ?? 4, "--queue-per-client", 0, MAX_QUEUE),
    },
    prefixCacheBytes:
      options.prefixCacheBytes === undefined
        ? Number.POSITIVE_INFINITY
        : requireInteger(options.prefixCacheBytes, "--prefix-cache", 0, Number.MAX_SAFE_INTEGER),
    readerStallMs: requireInteger(options.readerStallMs ?? 30_000, "readerStallMs", 100, 3_600_000),
    leaseMs: requireInteger(options.leaseMs ?? 3000, "leaseMs", 100, 3_600_000),
    recoveryWaitMs: requireInteger(options.recoveryWaitMs ?? 60_000, "--recovery-wait", 0, 86_400_000),
    stepTimeoutMs: requireInteger(options.stepTimeoutMs ?? 120_000, "stepTimeoutMs", 100, 86_400_000),
    security: options.security ?? null,
    clock: options.clock ?? MONOTONIC_CLOCK,
    transport: options.transport ?? GRPC_TRANSPORT,
    openState: options.openState ?? openState,
    observer: options.observer ?? null,
    sampleEvery: requireInteger(options.sampleEvery ?? DEFAULT_SAMPLE_EVERY, "sampleEvery", 0, 1_000_000_000),
    sampleLevel: readHookLevel(options.sampleLevel ?? "layer", "sampleLevel"),
    hooks: options.hooks ?? true,
    observePrompts: options.observePrompts ?? false,
    traces: options.traces ?? null,
    readLive: options.readLive ?? null,
  };
}

function readOptional(value: number | undefined, name: string, least: number, most: number): number | null {
  return value === undefined ? null : requireInteger(value, name, least, most);
}

function readDeterminism(value: string): Determinism {
  if (value === "recorded" || value === "strict") return value;
  throw new NoodleError("USAGE", `--determinism is "${value}", it must be recorded or strict`);
}

/** @throws USAGE unless `value` is a whole number from `least` to `most` */
export function requireInteger(value: number, name: string, least: number, most: number): number {
  if (!Number.isInteger(value) || value < least || value > most) {
    throw new NoodleError("USAGE", `${name} is ${value}, it must be a whole number from ${least} to ${most}`);
  }
  return value;
}
