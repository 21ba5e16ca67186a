import { expect, it } from "vitest";
import { BusyWindow } from "./busy-window.ts";

it("gives the share of its span, and never more than all", () => {
  const window = new BusyWindow(1);
  expect(window.share).toBe(null);
  window.push({ busyNs: 0, wallNs: 100_000 });
  expect(window.share).toBe(null);
  window.push({ busyNs: 450_000, wallNs: 600_000 });
  expect(window.share).toBe(0.9);
  window.push({ busyNs: 450_000, wallNs: 1_600_000 });
  expect(window.share).toBe(0);
  // A long step is counted when it ends.
  window.push({ busyNs: 9_000_000, wallNs: 1_700_000 });
  expect(window.share).toBe(1);
});

it("begins anew where the readings do: what they are of was started again", () => {
  const window = new BusyWindow(10);
  window.push({ busyNs: 900_000, wallNs: 1_000_000 });
  window.push({ busyNs: 1_800_000, wallNs: 2_000_000 });
  window.push({ busyNs: 0, wallNs: 100_000 });
  expect(window.share).toBe(null);
  window.push({ busyNs: 50_000, wallNs: 200_000 });
  expect(window.share).toBe(0.5);
});
