import { expect, it } from "vitest";
import { SampleWindow } from "./stats.ts";

it("a window's median is that of its latest samples, and null without any", () => {
  const window = new SampleWindow(3);
  expect(window.median()).toBeNull();
  for (const value of [100, 3, 1, 2]) window.add(value);
  expect(window.median()).toBe(2);
});
