import { describe, expect, it } from "vitest";
import type { GenerateRequest } from "../cluster/coordinator/index.ts";
import { NoodleError } from "../common/index.ts";
import { runGenerations } from "./generations.ts";
import { FakeServedModel, type FakeModelOptions } from "./testing.ts";

const NEVER = new AbortController().signal;

function makeRequests(prompts: readonly number[]): GenerateRequest[] {
  return prompts.map((id) => ({ prompt: [id], maxTokens: 3 }));
}

function makeModel(options: FakeModelOptions = {}): FakeServedModel {
  return new FakeServedModel({ reply: () => "abc", ...options });
}

describe("the generations of one request", () => {
  it("begin with the first choice of each prompt; its siblings follow behind its first token", async () => {
    const order: string[] = [];
    const model = makeModel();
    const finished = await runGenerations({
      model,
      requests: makeRequests([65, 65, 66, 66]),
      choices: 2,
      atOnce: 4,
      signal: NEVER,
      onEvent: (choice, event) => {
        if (event.type === "started" || (event.type === "token" && event.index === 0)) {
          order.push(`${choice} ${event.type}`);
        }
      },
    });
    expect(order.indexOf("1 started")).toBeGreaterThan(order.indexOf("0 token"));
    expect(order.indexOf("3 started")).toBeGreaterThan(order.indexOf("2 token"));
    expect(order.indexOf("2 started")).toBeLessThan(order.indexOf("1 started"));
    expect(finished).toHaveLength(4);
    expect(finished.every(({ promptTokens, done }) => promptTokens === 1 && done.generatedTokens === 3)).toBe(true);
  });

  it("are no more at once than is allowed", async () => {
    let most = 0;
    const model = makeModel({
      beforeToken: async () => {
        most = Math.max(most, model.running);
        await new Promise((resolve) => setImmediate(resolve));
      },
    });
    const requests = makeRequests([1, 2, 3, 4, 5, 6, 7]);
    await runGenerations({ model, requests, choices: 1, atOnce: 3, signal: NEVER, onEvent: () => undefined });
    expect(most).toBe(3);
    expect(model.finished).toBe(7);
  });

  it("all end when one fails, with its error and not with what it interrupted", async () => {
    const model = makeModel({
      beforeToken: async (index) => {
        if (model.requests.length === 3 && index === 1) throw new NoodleError("PEER_DEAD", "gone");
        await new Promise((resolve) => setImmediate(resolve));
      },
    });
    const run = runGenerations({
      model,
      requests: makeRequests([1, 2, 3, 4, 5]),
      choices: 1,
      atOnce: 3,
      signal: NEVER,
      onEvent: () => undefined,
    });
    await expect(run).rejects.toMatchObject({ code: "PEER_DEAD" });
    expect(model.running).toBe(0);
    expect(model.requests).toHaveLength(3);
  });

  it("are cancelled with their request, those that wait included", async () => {
    const stop = new AbortController();
    const model = makeModel({
      beforeToken: async () => {
        stop.abort();
        await Promise.resolve();
      },
    });
    const requests = makeRequests([1, 1, 1]);
    const run = runGenerations({
      model,
      requests,
      choices: 3,
      atOnce: 1,
      signal: stop.signal,
      onEvent: () => undefined,
    });
    await expect(run).rejects.toMatchObject({ code: "INTERRUPTED" });
    expect(model).toMatchObject({ running: 0, cancelled: 1 });
  });
});
