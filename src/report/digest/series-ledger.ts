import type { StepRecord } from "../../observe/index.ts";
import { FoldingBins } from "./folding-bins.ts";
import type { SeriesDigest } from "./run-digest.ts";
import { Sketch, spreadOf } from "./sketch.ts";

const MAX_BINS = 240;
const FIRST_BIN_MS = 250;
const MAX_STAGES = 64;
/** Requests that are followed at once for the gaps between their tokens; the oldest is let go first. */
const MAX_FOLLOWED = 4096;

interface Moment {
  tokens: number;
  readonly ttft: Sketch;
  readonly itl: Sketch;
  readonly stages: Sketch[];
}

/** Throughput and latencies along the run. */
export class SeriesLedger {
  readonly #bins = new FoldingBins<Moment>({
    width: FIRST_BIN_MS,
    maxBins: MAX_BINS,
    create: () => ({ tokens: 0, ttft: new Sketch(), itl: new Sketch(), stages: [] }),
    merge: mergeMoments,
  });
  readonly #lastTokenNs = new Map<string, number>();
  #added = false;

  addStep(record: StepRecord, atMs: number): void {
    const receivedNs = record.receivedMonoNs;
    this.#added = true;
    const moment = this.#bins.at(atMs);
    moment.tokens += record.sampledRequestIds.length;
    for (const id of record.sampledRequestIds) {
      const lastNs = this.#lastTokenNs.get(id);
      if (lastNs !== undefined && receivedNs > lastNs) moment.itl.add((receivedNs - lastNs) / 1e6);
      this.#lastTokenNs.delete(id);
      this.#lastTokenNs.set(id, receivedNs);
    }
    for (const id of this.#lastTokenNs.keys()) {
      if (this.#lastTokenNs.size <= MAX_FOLLOWED) break;
      this.#lastTokenNs.delete(id);
    }
    if (record.phase !== "decode") return;
    for (const { stage, computeNs } of record.stages) {
      if (stage >= 0 && stage < MAX_STAGES) sketchOf(moment, stage).add(computeNs / 1e6);
    }
  }

  addTtft(ttftMs: number, atMs: number): void {
    this.#added = true;
    this.#bins.at(atMs).ttft.add(ttftMs);
  }

  endRequest(id: string): void {
    this.#lastTokenNs.delete(id);
  }

  /** @param originMs, endMs of the run: the bins at its ends are only as wide as the run reaches into them. */
  finish(originMs: number, endMs: number): SeriesDigest | null {
    if (!this.#added) return null;
    const span = (from: number, end: number): readonly [number, number] => [
      Math.max(from, originMs),
      Math.max(Math.min(end, endMs), Math.max(from, originMs) + 1),
    ];
    return {
      binS: this.#bins.width / 1000,
      points: this.#bins.list().map(({ from, end, value }) => ({
        atS: (sumOf(span(from, end)) / 2 - originMs) / 1000,
        tokensPerS: (1000 * value.tokens) / (span(from, end)[1] - span(from, end)[0]),
        ttftMs: spreadOf(value.ttft),
        itlMs: spreadOf(value.itl),
        stageComputeMs: Array.from(value.stages, (sketch) => (sketch.count === 0 ? null : sketch.quantile(0.5))),
      })),
    };
  }
}

function sumOf([from, end]: readonly [number, number]): number {
  return from + end;
}

/** The stage's sketch; those before it come into being with it, so that the list has no holes. */
function sketchOf(moment: Moment, stage: number): Sketch {
  while (moment.stages.length <= stage) moment.stages.push(new Sketch());
  return moment.stages[stage] ?? new Sketch();
}

function mergeMoments(into: Moment, from: Moment): void {
  into.tokens += from.tokens;
  into.ttft.merge(from.ttft);
  into.itl.merge(from.itl);
  from.stages.forEach((sketch, stage) => sketchOf(into, stage).merge(sketch));
}
