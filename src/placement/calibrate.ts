import { median, must } from "../common/index.ts";
import type { ProfileDocument, ProfileRow } from "../profile/index.ts";
import { fitPrices } from "./fit.ts";

/** How much of what a data sheet promises a machine reaches, and what a unit costs beside that. */
export interface Calibration {
  /** Of every unit in every call. */
  readonly unitMs: number;
  /** Time outside the graph of every call. */
  readonly callMs: { readonly decode: number; readonly prefill: number };
  /** Reached / promised, of memory. */
  readonly memoryRatio: number;
  /** Reached / promised, of arithmetic with each weight type. */
  readonly computeRatio: ReadonlyMap<string, number>;
  /** Reading and computing: one after the other, or the longer of the two. */
  readonly overlap: boolean;
  /** Mean absolute error, relative, when each measured cell is predicted from the others; null with too few. */
  readonly looErrorRatio: number | null;
  readonly words: string;
}

/** What machines of many kinds reach. Used where nothing was measured, and said so. */
export const USUAL: Calibration = {
  unitMs: 0.01,
  callMs: { decode: 0.2, prefill: 0.2 },
  memoryRatio: 0.75,
  computeRatio: new Map(),
  overlap: true,
  looErrorRatio: null,
  words:
    "not calibrated: no measured profile was given, so 75% of the memory bandwidth and half of the arithmetic are assumed",
};
export const USUAL_COMPUTE_RATIO = 0.5;

/** A measured time of a class of units, and what was read and computed in it. */
interface Sample {
  readonly cell: string;
  readonly type: string;
  readonly ms: number;
  readonly bytes: number;
  readonly flops: number;
}

/** Caches can be quicker than memory, but not by more than this. */
const RATIO_MAX = 4;
const SAMPLES_MIN = 3;
/** Cells that are left out in turn. */
const LOO_MAX = 64;

/**
 * Fits a roofline to a profile: time = unit overhead + bytes / bandwidth + flops / rate of the weight type, or with the
 * longer of the two instead of their sum, whichever predicts left-out cells better.
 *
 * @returns null for a profile with fewer than three samples, or of a machine whose roofs were not measured
 */
export function calibrate(profile: ProfileDocument): Calibration | null {
  const { machine, cost_model } = profile;
  if (!(machine.memory_gb_per_s > 0 && machine.compute_gflops > 0)) return null;
  const samples = listSamples(profile.units);
  if (samples.length < SAMPLES_MIN) return null;
  const roofs = { bytesPerMs: machine.memory_gb_per_s * 1e6, flopsPerMs: machine.compute_gflops * 1e6 };
  const fits = [false, true].map((overlap) => ({ overlap, error: leaveOneOut(samples, roofs, overlap) }));
  const best = fits.reduce((a, b) => ((b.error ?? Infinity) < (a.error ?? Infinity) ? b : a));
  const fitted = fit(samples, roofs, best.overlap);
  const said =
    best.error === null
      ? "too few cells to say how well"
      : `${(best.error * 100).toFixed(1)}% mean error on cells left out`;
  return {
    unitMs: fitted.unitMs,
    callMs: cost_model.step_overhead_ms,
    memoryRatio: 1 / (fitted.byteMs * roofs.bytesPerMs),
    computeRatio: new Map([...fitted.flopMs].map(([type, price]) => [type, 1 / (price * roofs.flopsPerMs)])),
    overlap: best.overlap,
    looErrorRatio: best.error,
    words: `calibrated by ${machine.name} (${machine.cpu_model}), ${said}`,
  };
}

/** The middle of several. @param all at least one */
export function mergeCalibrations(all: readonly Calibration[]): Calibration {
  const [only] = all;
  if (only !== undefined && all.length === 1) return only;
  const of = (pick: (one: Calibration) => number): number => median(all.map(pick));
  const types = new Set(all.flatMap((one) => [...one.computeRatio.keys()]));
  const errors = all.flatMap((one) => one.looErrorRatio ?? []);
  return {
    unitMs: of((one) => one.unitMs),
    callMs: { decode: of((one) => one.callMs.decode), prefill: of((one) => one.callMs.prefill) },
    memoryRatio: of((one) => one.memoryRatio),
    computeRatio: new Map(
      [...types].map((type) => [type, median(all.flatMap((one) => one.computeRatio.get(type) ?? []))]),
    ),
    overlap: all.filter((one) => one.overlap).length * 2 > all.length,
    looErrorRatio: errors.length === 0 ? null : Math.max(...errors),
    words: all.map((one) => one.words).join("; "),
  };
}

/** Predicted time of a unit's work. Roofs in bytes and flops for each millisecond, as reached. */
export function rooflineMs(
  work: { readonly bytes: number; readonly flops: number },
  reached: {
    readonly bytesPerMs: number;
    readonly flopsPerMs: number;
    readonly overlap: boolean;
    readonly unitMs: number;
  },
): number {
  const [read, compute] = [work.bytes / reached.bytesPerMs, work.flops / reached.flopsPerMs];
  return reached.unitMs + (reached.overlap ? Math.max(read, compute) : read + compute);
}

/** The weight type that most elements of a unit have. */
export function findMainType(tensors: readonly { readonly dims: readonly number[]; readonly type: string }[]): string {
  const sizes = new Map<string, number>();
  for (const { dims, type } of tensors) {
    sizes.set(type, (sizes.get(type) ?? 0) + dims.reduce((product, dim) => product * dim, 1));
  }
  return [...sizes].reduce((best, entry) => (entry[1] > best[1] ? entry : best), ["", -1])[0];
}

/** The units of a class do the same work: the middle one of each cell stands for all. Looking up rows is no roofline. */
function listSamples(rows: readonly ProfileRow[]): Sample[] {
  const groups = new Map<string, ProfileRow[]>();
  for (const row of rows) {
    if (row.role !== "total" || row.n === 0 || row.unit_class === "embed" || row.p50_ms <= row.sync_ms) continue;
    const key = `${row.unit_class} ${row.phase} ${row.rows} ${row.context}`;
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [row]);
    else group.push(row);
  }
  return [...groups.values()].map((group) => {
    const first = must(group[0], "row");
    const tensors = Object.entries(first.shapes).map(([name, dims]) => ({ dims, type: first.dtypes[name] ?? "" }));
    return {
      cell: `${first.phase} ${first.rows} ${first.context}`,
      type: findMainType(tensors),
      ms: median(group.map((row) => row.p50_ms - row.sync_ms)),
      bytes: first.bytes_moved,
      flops: first.flops,
    };
  });
}

interface Roofs {
  readonly bytesPerMs: number;
  readonly flopsPerMs: number;
}

interface Fit {
  readonly unitMs: number;
  readonly byteMs: number;
  readonly flopMs: ReadonlyMap<string, number>;
}

const OVERLAP_TURNS = 8;

function fit(samples: readonly Sample[], roofs: Roofs, overlap: boolean): Fit {
  const types = [...new Set(samples.map((sample) => sample.type))];
  const floors = [0, 1 / (RATIO_MAX * roofs.bytesPerMs), ...types.map(() => 1 / (RATIO_MAX * roofs.flopsPerMs))];
  const solve = (usesBytes: (sample: Sample) => boolean, usesFlops: (sample: Sample) => boolean): Fit => {
    const observations = samples.map((sample) => ({
      ms: sample.ms,
      amounts: [
        1,
        usesBytes(sample) ? sample.bytes : 0,
        ...types.map((type) => (type === sample.type && usesFlops(sample) ? sample.flops : 0)),
      ],
    }));
    const [unitMs = 0, byteMs = 0, ...prices] = fitPrices(observations, floors);
    return { unitMs, byteMs, flopMs: new Map(types.map((type, index) => [type, prices[index] ?? 0])) };
  };
  if (!overlap)
    return solve(
      () => true,
      () => true,
    );
  // Which of the two is longer follows from the prices, and the prices from which is longer.
  const reads = (one: Fit) => (sample: Sample) => sample.bytes * one.byteMs >= sample.flops * priceOf(one, sample.type);
  let current: Fit = {
    unitMs: 0,
    byteMs: 1 / roofs.bytesPerMs,
    flopMs: new Map(types.map((type) => [type, 1 / roofs.flopsPerMs])),
  };
  for (let turn = 0; turn < OVERLAP_TURNS; turn++) {
    const isRead = reads(current);
    current = solve(isRead, (sample) => !isRead(sample));
  }
  return current;
}

function priceOf(fitted: Fit, type: string): number {
  return fitted.flopMs.get(type) ?? median([...fitted.flopMs.values()]);
}

function leaveOneOut(samples: readonly Sample[], roofs: Roofs, overlap: boolean): number | null {
  const cells = [...new Set(samples.map((sample) => sample.cell))];
  if (cells.length < SAMPLES_MIN) return null;
  const errors = cells.slice(0, LOO_MAX).flatMap((cell) => {
    const fitted = fit(
      samples.filter((sample) => sample.cell !== cell),
      roofs,
      overlap,
    );
    return samples
      .filter((sample) => sample.cell === cell)
      .map((sample) => {
        const reached = {
          bytesPerMs: 1 / fitted.byteMs,
          flopsPerMs: 1 / priceOf(fitted, sample.type),
          overlap,
          unitMs: fitted.unitMs,
        };
        return Math.abs(rooflineMs(sample, reached) / sample.ms - 1);
      });
  });
  return errors.reduce((a, b) => a + b, 0) / errors.length;
}
