import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { must, NoodleError } from "../common/index.ts";
import type { HookLevel, SegmentTiming, StepObservation } from "../observe/index.ts";
import { checkFill } from "./runs.ts";
import type {
  KvLayer,
  RowRun,
  SampledToken,
  SamplingParams,
  Stage,
  StageConfig,
  StageForwardOptions,
  StageInfo,
  StageInput,
  StageOutput,
  UnitRange,
} from "./types.ts";

/** Planned misbehaviour, so that tests reach the error paths of everything around an engine. */
export interface FakeFaults {
  /** The process aborts (SIGABRT) when a run holds this token, as a failed assertion of the library would. */
  readonly abortOnToken?: number;
  /** `forward` fails with NON_FINITE when a run holds this token. */
  readonly nonFiniteOnToken?: number;
  /** `canary` fails with NON_FINITE, as damaged weights would make it. */
  readonly canaryNonFinite?: boolean;
  /** Time that each `forward` blocks its thread for. */
  readonly computeMs?: number;
}

/** What a fake stage file holds, as JSON. */
export interface FakeModel {
  readonly units: UnitRange;
  readonly layers: number;
  readonly nEmbd: number;
  readonly nVocab: number;
  readonly faults?: FakeFaults;
}

/** Segments of each kind of unit, by level. */
const FAKE_ROLES: Readonly<
  Record<HookLevel, Readonly<Record<"embedding" | "block" | "head", readonly SegmentTiming["role"][]>>>
> = {
  layer: { embedding: ["total"], block: ["total"], head: ["total"] },
  role: { embedding: ["embedding.token"], block: ["norm", "attention", "mlp"], head: ["norm", "head", "sampling"] },
  node: {
    embedding: ["embedding.token"],
    block: [
      "norm",
      "attention.qkv",
      "attention.kv_write",
      "attention.scores",
      "attention.output",
      "mlp.up",
      "mlp.down",
    ],
    head: ["norm", "head", "sampling"],
  },
};

const PENALTY_WINDOW = 64;
const VALUE_MASK = 0xfffff;

interface FakeSlot {
  readonly sampling: SamplingParams;
  position: number;
  /** Tokens of all positions; kept by the stage with the head. */
  readonly history: number[];
  /** One entry for each block of this stage; i32[position, nEmbd], flat. */
  readonly keys: number[][];
  readonly values: number[][];
}

/**
 * A stage of integer arithmetic that keeps the contract of `Stage`: every output value depends on every earlier
 * token and position through the KV state, so a lost, doubled or reordered step changes what follows. Values have
 * 20 bits, so f32 carries them exactly and any split gives the bits of the undivided fake.
 */
export class FakeStage implements Stage {
  readonly info: StageInfo;
  readonly #model: FakeModel;
  readonly #config: StageConfig;
  readonly #slots = new Map<number, FakeSlot>();
  readonly #blocks: readonly number[];
  #closed = false;

  constructor(model: FakeModel, config: StageConfig) {
    const { units, layers, nEmbd, nVocab } = model;
    if (units.first < 0 || units.end > layers + 2 || units.first >= units.end) {
      throw new NoodleError("CUT_OUT_OF_RANGE", `units ${units.first}:${units.end} are not in 0:${layers + 2}`);
    }
    this.#model = model;
    this.#config = config;
    this.#blocks = Array.from({ length: layers }, (_, block) => block).filter(
      (block) => block + 1 >= units.first && block + 1 < units.end,
    );
    const hasEmbedding = units.first === 0;
    const hasHead = units.end === layers + 2;
    this.info = {
      units,
      unitCount: layers + 2,
      architecture: "fake",
      nEmbd,
      nVocab: hasEmbedding || hasHead ? nVocab : 0,
      hasEmbedding,
      hasHead,
      endsBlocks: units.end >= layers + 1,
      weightsBytes: (units.end - units.first) * nEmbd * 4,
      kvBytes: this.#blocks.length * 2 * 4 * nEmbd * config.contextTokens * config.parallel,
      computeBufferBytes: 0,
      threads: config.threads,
      contextTokens: config.contextTokens,
      parallel: config.parallel,
      maxRows: config.maxRows ?? 512,
      engine: { build: "fake", variant: "fake" },
    };
  }

  /** Reads the model from the JSON of `config.stageFile`. */
  static open(config: StageConfig): FakeStage {
    const parsed: unknown = JSON.parse(readFileSync(config.stageFile, "utf8"));
    return new FakeStage(parsed as FakeModel, config);
  }

  openSlot(slot: number, sampling: SamplingParams): void {
    this.#alive();
    if (slot < 0 || slot >= this.#config.parallel) {
      throw new NoodleError("SESSION_LIMIT", `slot ${slot} is not in 0:${this.#config.parallel} (--parallel)`);
    }
    const lists = (): number[][] => this.#blocks.map(() => []);
    this.#slots.set(slot, { sampling, position: 0, history: [], keys: lists(), values: lists() });
  }

  closeSlot(slot: number): void {
    this.#alive();
    this.#slots.delete(slot);
  }

  nextPosition(slot: number): number {
    this.#alive();
    return this.#slot(slot).position;
  }

  truncate(slot: number, position: number): void {
    this.#alive();
    const state = this.#slot(slot);
    if (position >= state.position) return;
    state.position = position;
    state.history.length = Math.min(state.history.length, position);
    for (const list of [...state.keys, ...state.values]) list.length = position * this.info.nEmbd;
  }

  /** Keys and values of token 0 at every position. */
  fillContext(slot: number, tokens: number): void {
    this.#alive();
    const { sampling } = this.#slot(slot);
    checkFill(tokens, this.#config.contextTokens);
    this.openSlot(slot, sampling);
    const state = this.#slot(slot);
    for (; state.position < tokens; state.position++) {
      this.#runBlocks(state, state.position, this.#enter(null, 0, 0));
      if (this.info.hasHead) state.history.push(0);
    }
  }

  forward(input: StageInput, options: StageForwardOptions = {}): StageOutput {
    this.#alive();
    const startNs = process.hrtime.bigint();
    if (options.observe !== undefined && this.info.hasHead && this.#config.hookable !== true)
      throw new NoodleError("USAGE", "this stage was not opened with `hookable`: it can not be observed");
    this.#check(input);
    this.#misbehave(input.tokens);
    const { nEmbd, hasHead, endsBlocks } = this.info;
    const leaving: Int32Array[] = [];
    const sampled: SampledToken[] = [];
    let row = 0;
    let hiddenRow = 0;
    for (const [index, run] of input.runs.entries()) {
      const state = this.#slot(run.slot);
      for (let i = 0; i < run.rows; i++) {
        const wanted = isOutputRow(run, i);
        const token = must(input.tokens[row + i], "token");
        if (hasHead) state.history.push(token);
        const carried = !this.#comesAfterBlocks() || wanted;
        if (carried) {
          const hidden = this.#enter(input.hidden, hiddenRow++, token);
          this.#runBlocks(state, state.position, hidden);
          if (wanted || !endsBlocks) leaving.push(hidden);
          if (hasHead && wanted && i === run.rows - 1) {
            const logits = this.#logits(hidden);
            const tokenId = choose(logits, state, state.position + 1);
            sampled.push({ run: index, tokenId, logits: options.wantLogits === true ? logits : null });
          }
        }
        state.position += 1;
      }
      row += run.rows;
    }
    const computeNs = Number(process.hrtime.bigint() - startNs);
    const observation = options.observe === undefined ? null : this.#observe(options.observe, row, computeNs);
    if (hasHead) return { hidden: null, sampled, computeNs, observation };
    const hidden = new Float32Array(leaving.length * nEmbd);
    for (const [index, values] of leaving.entries()) hidden.set(values, index * nEmbd);
    return { hidden, sampled, computeNs, observation };
  }

  readKv(slot: number): readonly KvLayer[] {
    this.#alive();
    const state = this.#slot(slot);
    const bytes = (list: readonly number[] | undefined): Uint8Array =>
      new Uint8Array(Int32Array.from(list ?? []).buffer);
    return this.#blocks.map((block, i) => ({ block, kBytes: bytes(state.keys[i]), vBytes: bytes(state.values[i]) }));
  }

  canary(): string {
    this.#alive();
    if (this.#model.faults?.canaryNonFinite === true) {
      throw new NoodleError("NON_FINITE", "the canary's output holds NaN");
    }
    const { faults: _faults, ...sound } = this.#model;
    const scratch = new FakeStage(sound, { ...this.#config, parallel: 1 });
    scratch.openSlot(0, { temperature: 0, topK: 0, topP: 1, minP: 0, repeatPenalty: 1, seed: 0 });
    const rows = Math.min(4, this.#config.contextTokens);
    const tokens = Int32Array.from({ length: rows }, (_, i) => (i * 7) % this.#model.nVocab);
    const hidden = this.info.hasEmbedding ? null : Float32Array.from({ length: rows * this.info.nEmbd }, (_, i) => i);
    const out = scratch.forward(
      { runs: [{ slot: 0, position: 0, rows, output: "all" }], tokens, hidden },
      { wantLogits: true },
    );
    const hash = createHash("sha256");
    if (out.hidden !== null) hash.update(new Uint8Array(out.hidden.buffer));
    for (const { logits } of out.sampled) if (logits !== null) hash.update(new Uint8Array(logits.buffer));
    return hash.digest("hex");
  }

  close(): void {
    this.#closed = true;
    this.#slots.clear();
  }

  #alive(): void {
    if (this.#closed) throw new NoodleError("ILLEGAL_STATE", "the fake stage is closed");
  }

  #slot(slot: number): FakeSlot {
    const state = this.#slots.get(slot);
    if (state === undefined) throw new NoodleError("SESSION_NOT_FOUND", `slot ${slot} is not open`);
    return state;
  }

  /** True for a stage that begins with the head: only output rows reach it. */
  #comesAfterBlocks(): boolean {
    return this.#model.units.first === this.#model.layers + 1;
  }

  #check(input: StageInput): void {
    let rows = 0;
    let outputRows = 0;
    for (const run of input.runs) {
      const have = this.#slot(run.slot).position;
      if (run.position !== have) {
        throw new NoodleError("STEP_OUT_OF_ORDER", `slot ${run.slot}: position ${run.position}, expected ${have}`, {
          details: { have },
        });
      }
      if (run.position + run.rows > this.#config.contextTokens) {
        throw new NoodleError(
          "CONTEXT_EXCEEDED",
          `slot ${run.slot}: ${run.position + run.rows} tokens, limit is ${this.#config.contextTokens} (--context)`,
        );
      }
      rows += run.rows;
      for (let i = 0; i < run.rows; i++) if (isOutputRow(run, i)) outputRows += 1;
    }
    if (input.tokens.length !== rows || rows > this.info.maxRows) {
      throw new NoodleError(
        "FRAME_INVALID",
        `${input.tokens.length} tokens, ${rows} rows, limit is ${this.info.maxRows}`,
      );
    }
    const hiddenRows = this.#comesAfterBlocks() ? outputRows : rows;
    if ((input.hidden === null) !== this.info.hasEmbedding) {
      throw new NoodleError("FRAME_INVALID", `units ${this.#model.units.first}: hidden state missing or not expected`);
    }
    if (input.hidden !== null && input.hidden.length !== hiddenRows * this.info.nEmbd) {
      throw new NoodleError("FRAME_INVALID", `hidden state of ${input.hidden.length} values for ${hiddenRows} rows`);
    }
  }

  /** The step's time in equal parts, with the segments that a stage of a simple model has. */
  #observe(level: HookLevel, rows: number, stepNs: number): StepObservation {
    const { units, unitCount } = this.info;
    const parts: Pick<SegmentTiming, "unit" | "role">[] = [];
    for (let unit = units.first; unit < units.end; unit++) {
      const kind = unit === 0 ? "embedding" : unit === unitCount - 1 ? "head" : "block";
      for (const role of FAKE_ROLES[level][kind]) parts.push({ unit, role });
    }
    const durationNs = Math.floor(stepNs / parts.length);
    return {
      level,
      rows,
      stepNs,
      segments: parts.map((part, i) => ({ ...part, startNs: i * durationNs, durationNs, nodes: 1 })),
      hookNs: stepNs - parts.length * durationNs,
      outsideNs: 0,
      otherNodes: 0,
      learning: false,
    };
  }

  #misbehave(tokens: Int32Array): void {
    const faults = this.#model.faults;
    if (faults === undefined) return;
    if (faults.computeMs !== undefined) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, faults.computeMs);
    // Not process.abort(), which a worker thread is not given.
    if (faults.abortOnToken !== undefined && tokens.includes(faults.abortOnToken)) process.kill(process.pid, "SIGABRT");
    if (faults.nonFiniteOnToken !== undefined && tokens.includes(faults.nonFiniteOnToken)) {
      throw new NoodleError("NON_FINITE", "the output holds NaN");
    }
  }

  #enter(hidden: Float32Array | null, row: number, token: number): Int32Array {
    const { nEmbd } = this.info;
    if (hidden !== null) return Int32Array.from(hidden.subarray(row * nEmbd, (row + 1) * nEmbd));
    return Int32Array.from({ length: nEmbd }, (_, i) => mix(token + 1, i) & VALUE_MASK);
  }

  /** Writes the row's keys and values, each value chained to its predecessor's, and updates `hidden` in place. */
  #runBlocks(state: FakeSlot, position: number, hidden: Int32Array): void {
    const { nEmbd } = this.info;
    for (const [index, block] of this.#blocks.entries()) {
      const keys = must(state.keys[index], "keys");
      const values = must(state.values[index], "values");
      for (let i = 0; i < nEmbd; i++) {
        const neighbour = hidden[(i + 1) % nEmbd] ?? 0;
        const key = mix(mix(hidden[i] ?? 0, neighbour), block * 4096 + position) & VALUE_MASK;
        const before = position === 0 ? 0 : (values[(position - 1) * nEmbd + i] ?? 0);
        keys[position * nEmbd + i] = key;
        values[position * nEmbd + i] = mix(before, key) & VALUE_MASK;
      }
      for (let i = 0; i < nEmbd; i++) {
        hidden[i] = mix(hidden[i] ?? 0, values[position * nEmbd + i] ?? 0) & VALUE_MASK;
      }
    }
  }

  #logits(hidden: Int32Array): Float32Array {
    let fold = 1;
    for (const value of hidden) fold = mix(fold, value);
    return Float32Array.from(
      { length: this.#model.nVocab },
      (_, id) => (mix(fold, id) & VALUE_MASK) / (VALUE_MASK + 1),
    );
  }
}

function isOutputRow(run: RowRun, row: number): boolean {
  return run.output === "all" || (run.output === "last" && row === run.rows - 1);
}

/** The best token, after the penalty and, above temperature 0, a disturbance drawn from (seed, position). */
function choose(logits: Float32Array, state: FakeSlot, position: number): number {
  const { temperature, repeatPenalty, seed } = state.sampling;
  const recent = new Set(repeatPenalty === 1 ? [] : state.history.slice(-PENALTY_WINDOW));
  let best = 0;
  let bestScore = Number.NEGATIVE_INFINITY;
  for (const [id, logit] of logits.entries()) {
    const drawn =
      temperature === 0 ? 0 : ((mix(mix(seed, position), id) & VALUE_MASK) / (VALUE_MASK + 1)) * temperature;
    const score = logit + drawn - (recent.has(id) ? 1 : 0);
    if (score > bestScore) {
      best = id;
      bestScore = score;
    }
  }
  return best;
}

/** Mixes two 32-bit values; the result is an unsigned 32-bit value. */
function mix(a: number, b: number): number {
  let h = Math.imul(a ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(b + 0x7f4a7c15, 0xc2b2ae35);
  h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d);
  return (h ^ (h >>> 13)) >>> 0;
}
