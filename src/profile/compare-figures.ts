import { isWithinSpread, sayRatio } from "./compare-profiles.ts";
import { roundFigure } from "./round.ts";
import { summarise } from "./statistics.ts";
import { sayNumber } from "./words.ts";

/** A figure that both runs have. */
export interface ComparedFigure {
  /** Where it stands: `stages.0:5.compute_ms_p50`. */
  readonly name: string;
  /** Median, where there are several. */
  readonly a: number;
  readonly b: number;
  /** b / a; null when a is 0. */
  readonly ratio: number | null;
  readonly within_spread: boolean;
}

export interface FigureComparison {
  readonly differences: readonly string[];
  readonly changes: readonly string[];
  readonly figures: readonly ComparedFigure[];
}

/** What a run says of itself: figures by name, and facts that two runs should share. */
export interface RunFigures {
  readonly figures: ReadonlyMap<string, readonly number[]>;
  readonly facts: ReadonlyMap<string, string>;
}

const CHANGES = 3;
/** More figures than any run has; what is beyond is left out. */
const MAX_FIGURES = 10_000;
const MAX_DEPTH = 8;
/** Names with units that say how fast or how large; the rest are settings and counts. */
const MEASURE = /(_ms|_ns|_seconds|_per_s|_per_sec|rss_bytes)(_p\d+)?$/;
const FACTS = new Set(["split", "threads", "source_sha256", "engine_build", "cpu_variant", "cpu", "cores", "commit"]);
/** What tells the objects of a list apart, best first. */
const IDENTITIES = ["units", "node", "name", "unit"];
/** Fields of a bench row that tell no two measurements apart. */
const PASSING = new Set(["machine", "time", "repetition", "value", "schema", "kind"]);

/**
 * Reads the figures of a run's documents (`summary.json`, what a command writes with `--json`) or of a bench's rows. A
 * field counts when its name ends in a unit of time or speed.
 */
export function readRunFigures(documents: readonly unknown[]): RunFigures {
  const figures = new Map<string, number[]>();
  const facts = new Map<string, string>();
  const add = (name: string, value: number): void => {
    const values = figures.get(name);
    if (values !== undefined) values.push(value);
    else if (figures.size < MAX_FIGURES) figures.set(name, [value]);
  };
  for (const document of documents) {
    if (!isObject(document)) continue;
    const prefix = document["schema"] === "noodle.bench.v1" ? nameBenchRow(document) : "";
    walk(document, prefix, 0, add, facts);
    if (document["kind"] === "sample" && typeof document["value"] === "number") add(prefix, document["value"]);
  }
  return { figures, facts };
}

/** Puts the figures that both runs have side by side. */
export function compareFigures(a: RunFigures, b: RunFigures): FigureComparison {
  const figures = [...a.figures].flatMap(([name, ofA]): ComparedFigure[] => {
    const ofB = b.figures.get(name);
    if (ofB === undefined) return [];
    const [left, right] = [summarise(ofA), summarise(ofB)];
    if (left.p50 === 0 && right.p50 === 0) return [];
    return [
      {
        name,
        a: roundFigure(left.p50),
        b: roundFigure(right.p50),
        ratio: left.p50 > 0 ? roundFigure(right.p50 / left.p50) : null,
        within_spread: isWithinSpread(left.p50, right.p50, left.sd, right.sd),
      },
    ];
  });
  return {
    differences: [...a.facts]
      .filter(([name, value]) => b.facts.has(name) && b.facts.get(name) !== value)
      .map(([name, value]) => `${name}: ${value} and ${b.facts.get(name) ?? ""}`),
    changes: figures
      .filter((figure) => !figure.within_spread)
      .sort((x, y) => weighRatio(y.ratio) - weighRatio(x.ratio))
      .slice(0, CHANGES)
      .map(
        ({ name, a: before, b: after, ratio }) =>
          `${name}: ${sayNumber(before)} became ${sayNumber(after)} (${sayRatio(ratio)}).`,
      ),
    figures,
  };
}

/** Half is as far as double; what came from nothing or went to it is farther than anything. */
function weighRatio(ratio: number | null): number {
  return ratio === null || ratio === 0 ? Number.MAX_VALUE : Math.abs(Math.log(ratio));
}

function walk(
  value: unknown,
  path: string,
  depth: number,
  add: (name: string, value: number) => void,
  facts: Map<string, string>,
): void {
  if (depth > MAX_DEPTH) return;
  if (Array.isArray(value)) {
    for (const [index, item] of value.entries()) {
      if (isObject(item)) walk(item, join(path, nameItem(item, index)), depth + 1, add, facts);
    }
    return;
  }
  if (!isObject(value)) return;
  for (const [key, field] of Object.entries(value)) {
    if (typeof field === "number" && Number.isFinite(field) && MEASURE.test(key)) add(join(path, key), field);
    else if (FACTS.has(key) && (typeof field === "string" || typeof field === "number")) facts.set(key, String(field));
    else if (typeof field === "object") walk(field, join(path, key), depth + 1, add, facts);
  }
}

function nameItem(item: Readonly<Record<string, unknown>>, index: number): string {
  const identity = IDENTITIES.find((key) => typeof item[key] === "string");
  return identity === undefined ? String(index) : String(item[identity]);
}

/** All that a bench row was measured with. */
function nameBenchRow(row: Readonly<Record<string, unknown>>): string {
  return Object.entries(row)
    .filter(([key]) => !PASSING.has(key) && !MEASURE.test(key))
    .filter(([, field]) => typeof field === "string" || typeof field === "number")
    .map(([key, field]) => (typeof field === "number" ? `${key}=${field}` : String(field)))
    .join(" ");
}

function join(path: string, key: string): string {
  return path === "" ? key : `${path}.${key}`;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
