import { expect, it } from "vitest";
import { BusyShares } from "./busy-shares.ts";

it("knows each engine by its own readings, and forgets one that is gone", () => {
  const shares = new BusyShares();
  shares.hear("a", { busyNs: 0, wallNs: 1e9 });
  shares.hear("b", { busyNs: 0, wallNs: 1e9 });
  expect(shares.engineOf("a")).toBe(null);
  shares.hear("a", { busyNs: 0.9e9, wallNs: 2e9 });
  shares.hear("b", { busyNs: 0.2e9, wallNs: 2e9 });
  expect([shares.engineOf("a"), shares.engineOf("b"), shares.engineOf("c")]).toEqual([0.9, 0.2, null]);
  shares.hear("a", { busyNs: 0, wallNs: 0 });
  expect(shares.engineOf("a")).toBe(null);
});

it("remembers a bounded number of nodes", () => {
  const shares = new BusyShares();
  for (let node = 0; node < 2000; node++) {
    shares.hear(`n${node}`, { busyNs: 0, wallNs: 1 });
    shares.hear(`n${node}`, { busyNs: 1, wallNs: 3 });
  }
  expect([shares.engineOf("n0"), shares.engineOf("n1999")]).toEqual([null, 0.5]);
});

it("tells what this process takes of the machine, as a part of all its cores", () => {
  const shares = new BusyShares();
  const untilMs = performance.now() + 30;
  let count = 0;
  while (performance.now() < untilMs) count += 1;
  expect(count).toBeGreaterThan(0);
  expect(shares.coordinator).toBeGreaterThan(0);
  expect(shares.coordinator).toBeLessThanOrEqual(1);
});
