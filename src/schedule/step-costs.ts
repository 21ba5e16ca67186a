import { must } from "../common/index.ts";

/** What a call of so many rows takes, in ms. */
export interface RowCost {
  readonly rows: number;
  readonly ms: number;
}

/** Of the slowest stage; each list ascends by rows and may be empty. */
export interface StepCosts {
  readonly decode: readonly RowCost[];
  readonly prefill: readonly RowCost[];
  /** One way between two neighbours of the ring; null while unknown. */
  readonly hopMs: number | null;
  /** Rows that decode micro-batches have lately. @default the most that were measured */
  readonly decodeRows?: number;
}

/** Between two measured numbers of rows in proportion, outside in proportion to the nearest. null without any. */
export function costOf(costs: readonly RowCost[], rows: number): number | null {
  const first = costs[0];
  if (first === undefined) return null;
  const above = costs.findIndex((cost) => cost.rows >= rows);
  const last = must(costs.at(-1), "cost");
  if (above < 0) return (last.ms * rows) / last.rows;
  const upper = must(costs[above], "cost");
  const lower = above === 0 ? null : must(costs[above - 1], "cost");
  // A call of fewer rows than were measured takes less, but not in proportion: the weights are read all the same.
  if (lower === null) return upper.rows === rows ? upper.ms : (upper.ms * (1 + rows / upper.rows)) / 2;
  return lower.ms + ((upper.ms - lower.ms) * (rows - lower.rows)) / (upper.rows - lower.rows);
}

/** Numbers of rows that are told apart. */
const MAX_KEYS = 64;

/** Weight of a new value: about the last ten count. */
const SHARE = 0.2;

/** Learns what steps take from those that are done: what the policy chooses by when nobody measured before. */
export class CostMeter {
  readonly #decode = new Map<number, number>();
  readonly #prefill = new Map<number, number>();
  #hopMs: number | null = null;
  #decodeRows: number | null = null;
  #steps = 0;

  /** Steps that were taken in. */
  get steps(): number {
    return this.#steps;
  }

  /** @param ms at the slowest stage */
  add(phase: "prefill" | "decode", rows: number, ms: number): void {
    const costs = phase === "decode" ? this.#decode : this.#prefill;
    const key = rows <= 16 ? rows : Math.ceil(rows / 16) * 16;
    const before = costs.get(key);
    this.#steps += 1;
    if (phase === "decode") this.#decodeRows = follow(this.#decodeRows, rows);
    if (before === undefined && costs.size >= MAX_KEYS) return;
    costs.set(key, follow(before ?? null, ms));
  }

  addHop(ms: number): void {
    this.#hopMs = follow(this.#hopMs, ms);
  }

  read(): StepCosts {
    const costs = { decode: ascending(this.#decode), prefill: ascending(this.#prefill), hopMs: this.#hopMs };
    return this.#decodeRows === null ? costs : { ...costs, decodeRows: this.#decodeRows };
  }
}

function follow(before: number | null, value: number): number {
  return before === null ? value : before + SHARE * (value - before);
}

function ascending(costs: ReadonlyMap<number, number>): readonly RowCost[] {
  return [...costs].map(([rows, ms]) => ({ rows, ms })).sort((a, b) => a.rows - b.rows);
}
