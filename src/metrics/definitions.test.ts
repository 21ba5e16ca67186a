import { describe, expect, test } from "vitest";
import { type MetricDefinition, METRICS } from "./definitions.ts";

const definitions = Object.entries<MetricDefinition>(METRICS);

describe("the table of metrics", () => {
  test.each(definitions)("%s is named by the rules", (name, { type, unit, labels, help, formula, buckets }) => {
    expect(name).toMatch(/^noodle_[a-z][a-z0-9]*(_[a-z0-9]+)*$/);
    expect(name.endsWith("_total")).toBe(type === "counter");
    expect(name.endsWith("_info")).toBe(unit === "info");
    const base = name.replace(/_total$/, "");
    if (unit === "seconds" || unit === "bytes" || unit === "ratio") expect(base.endsWith(`_${unit}`)).toBe(true);
    expect(base).not.toMatch(/_(ms|us|ns|milliseconds|kb|mb|gb|kib|mib|gib|percent|perc)(_|$)/);
    expect(labels.every((label) => /^[a-z][a-z_]*$/.test(label) && label !== "le")).toBe(true);
    expect(help).toMatch(/^[A-Z0-9][^\n]*\.$/);
    expect(formula).not.toBe("");
    expect(buckets !== undefined).toBe(type === "histogram");
    expect([...(buckets ?? [])].every((bound, at, all) => at === 0 || bound > (all[at - 1] ?? bound))).toBe(true);
  });

  test("no histogram's own series has the name of another metric", () => {
    const own = definitions.flatMap(([name, { type }]) =>
      type === "histogram" ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [],
    );
    expect(own.filter((name) => Object.hasOwn(METRICS, name))).toEqual([]);
  });
});
