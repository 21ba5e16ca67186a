import { expect, test } from "vitest";
import { Instruments } from "./instruments.ts";
import { findSample, parseExposition } from "./testing.ts";

test("label sets beyond the limit are counted and not shown, those before go on", async () => {
  const instruments = new Instruments("coordinator");
  const sessions = instruments.gauge("noodle_node_sessions");
  for (let index = 0; index < 130; index++) sessions.child(`node-${index}`)?.set(index);
  sessions.child("node-5")?.set(7);
  const families = parseExposition(await instruments.render());
  expect(families.get("noodle_node_sessions")?.samples).toHaveLength(128);
  expect(findSample(families, "noodle_node_sessions", { node: "node-5" })).toBe(7);
  expect(findSample(families, "noodle_metrics_series_dropped_total")).toBe(2);
  const again = parseExposition(await instruments.render());
  expect(findSample(again, "noodle_metrics_series_dropped_total")).toBe(2);
});

test("a removed label set leaves its place to another", async () => {
  const instruments = new Instruments("coordinator");
  const sessions = instruments.gauge("noodle_node_sessions");
  for (let index = 0; index < 128; index++) sessions.child(`node-${index}`)?.set(index);
  sessions.remove("node-0");
  sessions.remove("never-there");
  sessions.child("another")?.set(1);
  const families = parseExposition(await instruments.render());
  expect(findSample(families, "noodle_node_sessions", { node: "node-0" })).toBeUndefined();
  expect(findSample(families, "noodle_node_sessions", { node: "another" })).toBe(1);
  expect(findSample(families, "noodle_metrics_series_dropped_total")).toBe(0);
});

test("names that a peer chose are escaped and cut", async () => {
  const instruments = new Instruments("coordinator");
  const up = instruments.gauge("noodle_node_up");
  up.child("n", 'a"b\\c\nd}')?.set(1);
  up.child("long", "x".repeat(10_000))?.set(1);
  const families = parseExposition(await instruments.render());
  expect(findSample(families, "noodle_node_up", { node: "n", name: 'a"b\\c\nd}' })).toBe(1);
  expect(findSample(families, "noodle_node_up", { node: "long", name: "x".repeat(128) })).toBe(1);
});

test("two label sets with the same text in other places stay apart", async () => {
  const instruments = new Instruments("coordinator");
  const rtt = instruments.gauge("noodle_link_round_trip_seconds");
  rtt.child("a,b", "c")?.set(1);
  rtt.child("a", "b,c")?.set(2);
  const families = parseExposition(await instruments.render());
  expect(findSample(families, "noodle_link_round_trip_seconds", { from: "a,b", to: "c" })).toBe(1);
  expect(findSample(families, "noodle_link_round_trip_seconds", { from: "a", to: "b,c" })).toBe(2);
});
