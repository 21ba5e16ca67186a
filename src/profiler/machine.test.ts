import { describe, expect, it } from "vitest";
import { parseCaches, parseCpuField, readMachine } from "./machine.ts";

describe("machine", () => {
  it("reads cache sizes, data and unified caches only", () => {
    const entries = [
      { level: "1\n", type: "Instruction\n", size: "32K\n" },
      { level: "1\n", type: "Data\n", size: "48K\n" },
      { level: "2\n", type: "Unified\n", size: "1024K\n" },
      { level: "3\n", type: "Unified\n", size: "32M\n" },
    ];
    expect(parseCaches(entries)).toEqual({ l1d: 48 * 1024, l2: 2 ** 20, l3: 32 * 2 ** 20 });
    expect(parseCaches([])).toEqual({ l1d: 0, l2: 0, l3: 0 });
    expect(parseCaches([{ level: "3", type: "Unified", size: "large" }])).toEqual({ l1d: 0, l2: 0, l3: 0 });
  });

  it("finds a field by any of its names", () => {
    const text = "processor\t: 0\nmodel name\t: Example CPU: 9\nflags\t\t: fma avx2\n";
    expect(parseCpuField(text, ["model name"])).toBe("Example CPU: 9");
    expect(parseCpuField(text, ["Features", "flags"])).toBe("fma avx2");
    expect(parseCpuField(text, ["Features"])).toBeUndefined();
  });

  it("knows this machine", () => {
    const machine = readMachine();
    expect(machine.cores).toBeGreaterThan(0);
    expect(machine.memoryFreeBytes).toBeGreaterThan(0);
    expect(machine.memoryFreeBytes).toBeLessThanOrEqual(machine.memoryTotalBytes);
  });
});
