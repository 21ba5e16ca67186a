import { expect, it } from "vitest";
import { WaitingLine, type WaitingRequest } from "./waiting-line.ts";

interface Named extends WaitingRequest {
  readonly name: string;
}

const request = (name: string, client = "", priority = 0): Named => ({ name, client, priority });

function drain(line: WaitingLine<Named>): string[] {
  const names: string[] = [];
  for (let next = line.next(); next !== null; next = line.next()) names.push(next.name);
  return names;
}

it("gives out the largest priority first, then takes turns between clients, each in order", () => {
  const line = new WaitingLine<Named>({ total: 10, perClient: 10 });
  for (const one of [
    request("a1", "a"),
    request("a2", "a"),
    request("b1", "b"),
    request("vip", "a", 1),
    request("c1", "c"),
  ])
    line.join(one, 0);
  expect(drain(line)).toEqual(["vip", "b1", "c1", "a1", "a2"]);
});

it("refuses what is beyond its limits, and takes again when somebody has left", () => {
  const line = new WaitingLine<Named>({ total: 3, perClient: 1 });
  const first = request("a1", "a");
  line.join(first, 7);
  expect(() => line.join(request("a2", "a"), 1234)).toThrow(
    expect.objectContaining({ code: "QUEUE_FULL", details: { retryAfterMs: 1234 } }),
  );
  // Those without a name share only the whole.
  line.join(request("x"), 0);
  line.join(request("y"), 0);
  expect(() => line.join(request("b1", "b"), 0)).toThrow(expect.objectContaining({ code: "QUEUE_FULL" }));
  expect(line.leave(first)).toBe(true);
  expect(line.leave(first)).toBe(false);
  line.join(request("a3", "a"), 0);
  expect(drain(line)).toEqual(["x", "a3", "y"]);
  expect(line.length).toBe(0);
});

it("lets one of low priority go in the end, however many larger ones come", () => {
  const line = new WaitingLine<Named>({ total: 10, perClient: 10 });
  line.join(request("low", "a", -100), 0);
  let served = 0;
  for (let name = ""; name !== "low" && served < 500; served++) {
    line.join(request("high", "b", 100), 0);
    name = line.next()?.name ?? "";
  }
  expect(served).toBeLessThanOrEqual(102);
  // A step apart it takes a few.
  line.join(request("low", "a", 0), 0);
  const names = Array.from({ length: 6 }, () => {
    line.join(request("high", "b", 1), 0);
    return line.next()?.name;
  });
  expect(names).toContain("low");
  expect(names.slice(0, 4)).toEqual(["high", "high", "high", "high"]);
});
