import { describe, expect, it } from "vitest";
import { judge } from "./client.ts";
import { fitSlope } from "./memory.ts";
import { makeRequests } from "./requests.ts";

const piece = (index: number, text: string): { readonly id: string; readonly data: string } => ({
  id: `g:${index}`,
  data: text === "" ? "[DONE]" : JSON.stringify({ choices: [{ index: 0, text }] }),
});

describe("a stream of the soak", () => {
  const whole = [piece(1, "once "), piece(2, "upon "), piece(3, "a time"), piece(4, "")];

  it("is right where every event came once and says what it says without faults", () => {
    expect(judge(whole, "once upon a time")).toEqual(["right", null]);
  });

  it("is lost, doubled or changed, and the place is named", () => {
    const [first, second, third, last] = whole;
    if (first === undefined || second === undefined || third === undefined || last === undefined) throw new Error();
    expect(judge([first, third, last], "once a time")[0]).toBe("lost");
    expect(judge([first, second, second, third, last], "once upon upon a time")[0]).toBe("doubled");
    expect(judge(whole, "once upon the time")).toEqual(["changed", '"a time" instead of "the time" at 10']);
    expect(judge(whole, "once upon a time and more")[0]).toBe("changed");
  });

  it("is one of all kinds", () => {
    const requests = makeRequests(24);
    expect(new Set(requests.map(({ kind }) => kind)).size).toBe(3);
    expect(requests.every(({ body }) => body.max_tokens <= 300)).toBe(true);
  });
});

describe("memory along the soak", () => {
  it("grows by the slope of the line through its samples", () => {
    const samples = Array.from({ length: 20 }, (_, index) => ({
      atMs: index * 60_000,
      rssMib: 100 + 0.5 * index + (index % 2),
      handles: 20,
    }));
    expect(fitSlope(samples) * 3_600_000).toBeCloseTo(30, 0);
    expect(fitSlope(samples.slice(0, 1))).toBe(0);
  });
});
