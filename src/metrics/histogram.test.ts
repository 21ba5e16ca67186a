import { expect, test } from "vitest";
import { Histogram, type Metric, Registry } from "prom-client";
import { CellHistogram } from "./histogram.ts";
import { findSample, parseExposition } from "./testing.ts";

const BOUNDS = [0.001, 0.01, 0.1, 1];

async function render(histogram: CellHistogram): Promise<string> {
  const registry = new Registry();
  registry.registerMetric(histogram as unknown as Metric);
  return registry.metrics();
}

test("a histogram reads as prom-client's own does", async () => {
  const own = new CellHistogram("a_seconds", "Time.", ["stage"], BOUNDS);
  const registry = new Registry();
  const theirs = new Histogram({
    name: "a_seconds",
    help: "Time.",
    labelNames: ["stage"],
    buckets: BOUNDS,
    registers: [registry],
  });
  for (const value of [0, 0.001, 0.0011, 0.5, 1, 1.0001, 70, 0.1]) {
    for (const stage of ["0", 'a"b']) {
      own.labels(stage).observe(value);
      theirs.labels(stage).observe(value);
    }
  }
  const text = await render(own);
  const lines = (exposition: string): readonly string[] =>
    exposition
      .split("\n")
      .map((line) => line.replace(/\{(.*)\}/, (_, labels: string) => labels.split(",").sort().join()));
  expect(lines(text)).toEqual(lines(await registry.metrics()));
  expect(findSample(parseExposition(text), "a_seconds_bucket", { stage: "0", le: "0.001" })).toBe(2);
});

test("a histogram without labels is there from the start, a series with labels from its first value", async () => {
  const plain = parseExposition(await render(new CellHistogram("a_seconds", "Time.", [], BOUNDS)));
  expect(findSample(plain, "a_seconds_count")).toBe(0);
  const labelled = new CellHistogram("a_seconds", "Time.", ["stage"], BOUNDS);
  labelled.labels("0");
  expect(parseExposition(await render(labelled)).get("a_seconds")?.samples).toEqual([]);
});

test("what is no number is left out", async () => {
  const histogram = new CellHistogram("a_seconds", "Time.", [], BOUNDS);
  for (const value of [Number.NaN, Number.POSITIVE_INFINITY, 2]) histogram.labels().observe(value);
  const families = parseExposition(await render(histogram));
  expect(findSample(families, "a_seconds_sum")).toBe(2);
  expect(findSample(families, "a_seconds_count")).toBe(1);
});

test("a removed series is gone", async () => {
  const histogram = new CellHistogram("a_seconds", "Time.", ["stage"], BOUNDS);
  histogram.labels("0").observe(1);
  histogram.labels("1").observe(1);
  histogram.remove("0");
  const families = parseExposition(await render(histogram));
  expect(findSample(families, "a_seconds_count", { stage: "0" })).toBeUndefined();
  expect(findSample(families, "a_seconds_count", { stage: "1" })).toBe(1);
  histogram.reset();
  expect(parseExposition(await render(histogram)).get("a_seconds")?.samples).toEqual([]);
});
