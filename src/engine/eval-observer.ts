import type { HookLevel, HookPair, HookRegistry, Phase } from "../observe/index.ts";
import { GraphReader } from "./graph-reader.ts";
import { callHooks, type HookMoment, type HookTensor, wrapNode, wrapRows } from "./hook-event.ts";
import { type GraphPlan, LearnedGraph, type PointHook } from "./learned-graph.ts";
import {
  type Library,
  type Pointer,
  readInt32,
  readInt64,
  readName,
  registerEvalCallback,
  TENSOR,
} from "./native/index.ts";
import type { StageFacts } from "./stage-facts.ts";
import { StepRecorder, toNs } from "./step-recorder.ts";

/** First four bytes of `l_out-N`, as the little-endian integer that one read gives. */
const L_OUT = Buffer.from("l_ou").readInt32LE();

const NO_HOOKS: ReadonlyMap<string, HookPair> = new Map();

/**
 * How the callback goes through a graph: `pass` looks for the stage's output alone; `learn` reads every node; `walk`
 * stops where the plan says; `lost` met another graph than planned; `done` and `learned` have what they
 * wanted and let the rest go by.
 */
type Mode = "pass" | "learn" | "walk" | "lost" | "done" | "learned";

/** What must be known of a stage to find one's way in its graph. */
export type ObservedStage = Pick<StageFacts, "units" | "unitCount" | "hasHead" | "fileBlocks" | "nEmbd">;

/** What hooks are told of an engine call. */
export interface EngineCall {
  readonly rows: number;
  readonly outputRows: number;
  readonly sequences: number;
  readonly phase: Phase;
  readonly contextTokens: number;
  /** f32[rows, nEmbd] that enters the stage's first block; null where tokens do. */
  readonly hidden: Float32Array | null;
}

/**
 * The engine's evaluation callback. For a stage without head it copies the last block's output out of the running graph
 * and stops there, so that norm and output matrix behind it are not computed. On demand it also times segments of the
 * graph and calls hooks.
 *
 * The library calls for every node: "will you want this one?", and where the answer was yes, computes everything up to
 * it, waits, and calls again. Since what ends a segment is the last node of its role, a graph is read once and then
 * walked by ordinal. At each stop the node's name is compared, so that another graph is noticed and nothing of it is
 * attributed to the wrong unit; where nothing is observed, a node costs one comparison and at most one four-byte read.
 */
export class EvalObserver {
  readonly address: Pointer;
  /** Row-major f32 of the last call, exactly as large as what was captured; undefined when the node never came. */
  captured: Float32Array | undefined;
  readonly #library: Library;
  readonly #stage: ObservedStage;
  readonly #hooks: HookRegistry | undefined;
  /** Name of the node to capture and stop at; undefined for a stage with head. */
  readonly #output: string | undefined;
  readonly #release: () => void;
  readonly #reader: GraphReader;
  /** By kind of call. Kinds share a graph until it turns out not to be theirs. */
  readonly #graphs = new Map<number, LearnedGraph | "unlearned">();
  #latest: LearnedGraph | undefined;
  #failure: { readonly error: unknown } | undefined;
  // Of the running step and call.
  #recorder: StepRecorder | undefined;
  #stepStartMs = 0;
  #mode: Mode = "pass";
  /** Nothing is wanted of this call: the shortest way out. */
  #isSilent = false;
  #isClosed = false;
  #kind = 0;
  #call: EngineCall | undefined;
  #graph: LearnedGraph | undefined;
  #plan: GraphPlan | undefined;
  #ordinal = 0;
  #stop = 0;
  #firstMs = 0;
  #times = new Float64Array(0);

  constructor(library: Library, stage: ObservedStage, hooks: HookRegistry | undefined) {
    this.#library = library;
    this.#stage = stage;
    this.#hooks = hooks;
    this.#reader = new GraphReader(library);
    this.#output = stage.hasHead ? undefined : `l_out-${stage.fileBlocks - 1}`;
    const registered = registerEvalCallback((tensor, ask) => {
      if (this.#isSilent && ask) return false;
      try {
        return ask ? this.#ask(tensor) : this.#take(tensor);
      } catch (error) {
        this.#failure ??= { error };
        return !ask; // an exception must not cross the library; go on to the end of the graph
      }
    });
    this.address = registered.address;
    this.#release = registered.release;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#release();
  }

  /** @returns what the step's parts are added to; undefined when it is not observed. */
  beginStep(level: HookLevel | null, rows: number, startMs: number): StepRecorder | undefined {
    this.#stepStartMs = startMs;
    this.#recorder = level === null ? undefined : new StepRecorder(level, rows, startMs);
    return this.#recorder;
  }

  /** The next call reads its graph, whatever is observed. */
  learnNext(): void {
    this.#mode = "learn";
  }

  /** Before `llama_decode`. @param call null for one that nobody shall see. @throws NoodleError `HOOK_POINT_UNKNOWN` */
  beginCall(call: EngineCall | null): void {
    this.captured = undefined;
    this.#failure = undefined;
    this.#ordinal = 0;
    this.#stop = 0;
    this.#call = call ?? undefined;
    this.#kind = call === null ? NO_KIND : kindOf(call);
    if (this.#mode !== "learn" && call !== null) this.#chooseMode();
    this.#isSilent = this.#mode === "pass" && this.#output === undefined;
  }

  /** After `llama_decode`. @throws whatever a hook threw */
  endCall(): void {
    const mode = this.#mode;
    this.#mode = "pass";
    this.#call = undefined;
    if (mode === "learn" || mode === "learned") this.#keepLearned();
    if (mode === "walk" || mode === "done") this.#closeWalk();
    if (mode === "lost") this.#getLost();
    const failure = this.#failure;
    if (failure !== undefined) throw failure.error;
  }

  /** After a call that failed. */
  abandonCall(): void {
    this.#mode = "pass";
    this.#call = undefined;
    this.#recorder = undefined;
  }

  #chooseMode(): void {
    const hooks = this.#hooks?.list() ?? NO_HOOKS;
    const level = this.#recorder?.level ?? null;
    this.#graph = undefined;
    if (level === null && hooks.size === 0) {
      this.#mode = "pass";
      return;
    }
    const known = this.#graphs.get(this.#kind) ?? this.#latest;
    if (known === undefined || known === "unlearned") {
      this.#mode = "learn";
      return;
    }
    this.#graph = known;
    this.#plan = known.plan(level, hooks);
    if (this.#times.length < 2 * this.#plan.boundaries.length)
      this.#times = new Float64Array(2 * this.#plan.boundaries.length);
    this.#mode = "walk";
  }

  /** @returns whether the engine shall stop behind this node. */
  #ask(tensor: number): boolean {
    if (this.#mode === "walk") {
      const plan = this.#plan as GraphPlan;
      const ordinal = this.#ordinal++;
      if (ordinal === 0) this.#enter(plan);
      if (plan.stops[ordinal] === 1) return this.#approach(tensor, plan);
      if (ordinal >= plan.nodes) this.#mode = "lost";
    } else if (this.#mode === "learn") {
      this.#reader.add(tensor);
    }
    if (this.#output === undefined || readInt32(tensor + TENSOR.name) !== L_OUT || readName(tensor) !== this.#output)
      return false;
    if (this.#mode === "walk") this.#mode = "lost"; // the output is not where it was
    return this.#mode !== "done" && this.#mode !== "learned";
  }

  #enter(plan: GraphPlan): void {
    this.#firstMs = performance.now();
    const { entry } = plan;
    const { hidden } = this.#call as EngineCall;
    if (entry === undefined || hidden === null) return;
    const tensor = wrapRows("embd", hidden, this.#stage.nEmbd);
    const atMs = this.#firstMs;
    this.#callHooks("pre", entry, entry.pre, atMs, atMs, () => tensor);
    this.#callHooks("post", entry, entry.post, atMs, atMs, () => tensor);
  }

  /** In front of a segment: makes sure that its last node is the one that the plan means. */
  #approach(tensor: number, plan: GraphPlan): boolean {
    const stop = this.#stop;
    const tail = plan.tailOffsets[stop] as number;
    const isSame =
      tail < 0 ||
      (readInt32(tensor + TENSOR.name) === plan.nameHeads[stop] &&
        readInt32(tensor + TENSOR.name + tail) === plan.nameTails[stop]);
    if (!isSame) {
      this.#mode = "lost";
      return this.#output !== undefined && readName(tensor) === this.#output;
    }
    const boundary = plan.boundaries[stop];
    if (boundary !== undefined && boundary.pre.length > 0) {
      const nowMs = performance.now();
      this.#callHooks("pre", boundary, boundary.pre, nowMs, nowMs, () => wrapNode(this.#library, tensor));
    }
    this.#times[2 * stop] = performance.now();
    return true;
  }

  /** @returns whether the rest of the graph is wanted. */
  #take(tensor: number): boolean {
    if (this.#mode === "walk") {
      const endMs = performance.now();
      const stop = this.#stop++;
      this.#times[2 * stop + 1] = endMs;
      const boundary = (this.#plan as GraphPlan).boundaries[stop];
      if (boundary !== undefined && boundary.post.length > 0) {
        const startMs = this.#times[2 * stop] as number;
        this.#callHooks("post", boundary, boundary.post, startMs, endMs, () => wrapNode(this.#library, tensor));
      }
      if (this.#output === undefined || boundary?.end !== (this.#plan as GraphPlan).nodes - 1) return true;
      this.#mode = "done";
    } else if (this.#mode === "learn") {
      this.#mode = "learned";
    }
    const rows = readInt64(tensor + TENSOR.ne + 8);
    const out = new Float32Array(rows * this.#stage.nEmbd);
    if (rows > 0) this.#library.calls.ggml_backend_tensor_get(tensor, out, 0, out.byteLength);
    this.captured = out;
    return false;
  }

  #callHooks(
    kind: HookMoment["kind"],
    { unit, role }: Pick<HookMoment, "unit" | "role">,
    hooks: readonly PointHook[],
    startMs: number,
    endMs: number,
    wrap: () => HookTensor,
  ): void {
    if (hooks.length === 0 || this.#failure !== undefined) return;
    const { phase, rows, contextTokens } = this.#call as EngineCall;
    const startNs = toNs(startMs - this.#stepStartMs);
    try {
      const moment = { kind, unit, role, phase, rows, contextTokens, startNs, durationNs: toNs(endMs - startMs) };
      callHooks(hooks, moment, wrap());
    } catch (error) {
      this.#failure = { error };
    }
  }

  #keepLearned(): void {
    this.#recorder?.markLearning();
    const nodes = this.#reader.take();
    if (nodes.length === 0) return;
    const graph = new LearnedGraph(nodes, this.#stage, this.#output !== undefined);
    this.#graphs.set(this.#kind, graph);
    this.#latest = graph;
  }

  #closeWalk(): void {
    const plan = this.#plan as GraphPlan;
    const graph = this.#graph as LearnedGraph;
    if (this.#ordinal < plan.nodes || this.#stop !== plan.boundaries.length) {
      this.#getLost();
      return;
    }
    this.#graphs.set(this.#kind, graph);
    this.#recorder?.addCall(plan, this.#times, this.#firstMs, graph.otherNodes);
  }

  #getLost(): void {
    this.#graphs.set(this.#kind, "unlearned");
    this.#recorder?.markLearning();
  }
}

const NO_KIND = -1;

/** Calls that may have different graphs, as few kinds as can be: what differs within one is noticed on the way. */
function kindOf({ phase, sequences, outputRows }: EngineCall): number {
  return (phase === "decode" ? 1 : 0) + (sequences > 1 ? 2 : 0) + (outputRows > 0 ? 4 : 0);
}
