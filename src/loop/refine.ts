import { median, sum } from "../common/index.ts";
import { CostModel, type CostModelDocument, type CostTable } from "../profile/index.ts";

type Phase = "prefill" | "decode";

/** One engine call of a stage in production. */
export interface StageSample {
  readonly first: number;
  readonly end: number;
  readonly phase: Phase;
  readonly rows: number;
  /** Positions before the step. */
  readonly context: number;
  readonly ms: number;
}

export interface RefinedClass {
  readonly name: string;
  readonly phase: Phase;
  /** Calls in which units of the class took part. */
  readonly samples: number;
  /** Refined / measured by the profile. */
  readonly ratio: number;
  /** Further off than a tenth. */
  readonly alarm: boolean;
}

export interface Refinement {
  readonly costs: CostModelDocument;
  readonly classes: readonly RefinedClass[];
  /** Mean of |predicted - measured| / measured over all calls, with the old costs and with the new ones. */
  readonly errorBefore: number;
  readonly errorAfter: number;
}

/** Fewer calls of a kind say nothing. */
const LEAST_SAMPLES = 16;
const ALARM = 0.1;
const PASSES = 60;
/** How much calls outside this relative distance still count: Huber's weight. */
const USUAL_ERROR = 0.05;
/** Classes that always come together are not told apart: each is pulled to what they have in common. */
const PULL = 0.02;
const LEAST_RATIO = 0.05;

/**
 * Refines costs from production alone: the share that each class of units has in the calls is fitted to the times that
 * the calls took, each call counting alike, outliers less; then each number of rows gets what is left over.
 *
 * @throws NoodleError `PROFILE_INVALID`, `PROFILE_MISMATCH` for a stage of units that the profile does not have
 */
export function refineCosts(costs: CostModelDocument, samples: readonly StageSample[]): Refinement {
  const good = samples.filter(({ ms, rows, context }) => ms > 0 && Number.isFinite(ms) && rows >= 1 && context >= 0);
  const fits = (["decode", "prefill"] as const).map((phase) =>
    fitPhase(
      costs,
      phase,
      good.filter((sample) => sample.phase === phase),
    ),
  );
  const scaled = fits.reduce(scaleClasses, costs);
  const refined = (["decode", "prefill"] as const).reduce(
    (document, phase) =>
      fitRows(
        document,
        phase,
        good.filter((sample) => sample.phase === phase),
      ),
    scaled,
  );
  return {
    costs: refined,
    classes: fits.flatMap(({ classes }) => classes),
    errorBefore: findError(costs, good),
    errorAfter: findError(refined, good),
  };
}

interface PhaseFit {
  readonly phase: Phase;
  readonly common: number;
  readonly classes: readonly RefinedClass[];
}

function fitPhase(costs: CostModelDocument, phase: Phase, samples: readonly StageSample[]): PhaseFit {
  if (samples.length < LEAST_SAMPLES) return { phase, common: 1, classes: [] };
  const model = new CostModel(costs);
  const names = costs.classes.map(({ name }) => name);
  const classOf = new Map(costs.classes.flatMap(({ units }, index) => units.map((unit) => [unit, index] as const)));
  // Shares of the measured time: each call counts alike, and all should add up to 1.
  const calls = samples.map((sample) => {
    const shares = names.map(() => 0);
    for (let unit = sample.first; unit < sample.end; unit++) {
      const index = classOf.get(unit);
      const { ms } = model.predict(unit, sample);
      if (index !== undefined) shares[index] = (shares[index] ?? 0) + ms / sample.ms;
    }
    return { shares, overhead: costs.step_overhead_ms[phase] / sample.ms };
  });
  const totals = calls.map(({ shares, overhead }) => sum(shares) + overhead);
  const common = 1 / median(totals);
  const factors = names.map(() => common);
  for (let pass = 0; pass < PASSES; pass++) {
    const rests = calls.map(
      ({ shares, overhead }) => 1 - overhead * common - sum(shares.map((share, i) => share * (factors[i] ?? 1))),
    );
    const weights = rests.map((rest) => Math.min(1, USUAL_ERROR / Math.max(USUAL_ERROR, Math.abs(rest))));
    for (const i of names.keys()) {
      const old = factors[i] ?? common;
      let [above, below] = [PULL * calls.length * (common - old), PULL * calls.length];
      for (const [at, { shares }] of calls.entries()) {
        const [share, weight] = [shares[i] ?? 0, weights[at] ?? 1];
        above += weight * share * (rests[at] ?? 0);
        below += weight * share * share;
      }
      const next = Math.max(LEAST_RATIO, old + above / below);
      for (const [at, { shares }] of calls.entries()) rests[at] = (rests[at] ?? 0) - (shares[i] ?? 0) * (next - old);
      factors[i] = next;
    }
  }
  const classes = names.flatMap((name, i) => {
    const count = calls.filter(({ shares }) => (shares[i] ?? 0) > 0).length;
    const ratio = factors[i] ?? 1;
    return count === 0 ? [] : [{ name, phase, samples: count, ratio, alarm: Math.abs(ratio - 1) > ALARM }];
  });
  return { phase, common, classes };
}

function scaleClasses(costs: CostModelDocument, { phase, common, classes }: PhaseFit): CostModelDocument {
  return {
    ...costs,
    step_overhead_ms: { ...costs.step_overhead_ms, [phase]: costs.step_overhead_ms[phase] * common },
    classes: costs.classes.map((one) => {
      const ratio = classes.find(({ name }) => name === one.name)?.ratio ?? common;
      return { ...one, [phase]: scaleLines(one[phase], () => ratio) };
    }),
  };
}

/** What each number of rows takes more or less than the others. */
function fitRows(costs: CostModelDocument, phase: Phase, samples: readonly StageSample[]): CostModelDocument {
  const model = new CostModel(costs);
  const byRows = new Map<number, number[]>();
  for (const sample of samples) {
    const ratio = sample.ms / model.predictStage(sample, sample).ms;
    byRows.set(sample.rows, [...(byRows.get(sample.rows) ?? []), ratio]);
  }
  const left = (rows: number): number => {
    const ratios = byRows.get(rows) ?? [];
    return ratios.length < LEAST_SAMPLES ? 1 : median(ratios);
  };
  return { ...costs, classes: costs.classes.map((one) => ({ ...one, [phase]: scaleLines(one[phase], left) })) };
}

function scaleLines(table: CostTable, ratioOf: (rows: number) => number): CostTable {
  return {
    ...table,
    ms: table.ms.map((line, i) => line.map((ms) => (ms === null ? null : ms * ratioOf(table.rows[i] ?? 0)))),
  };
}

function findError(costs: CostModelDocument, samples: readonly StageSample[]): number {
  if (samples.length === 0) return 0;
  const model = new CostModel(costs);
  return sum(samples.map((sample) => Math.abs(model.predictStage(sample, sample).ms / sample.ms - 1))) / samples.length;
}
