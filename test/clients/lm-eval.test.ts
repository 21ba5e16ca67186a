import { describe, expect, it } from "vitest";
import { LmEval } from "./lm-eval.ts";
import { serveFake } from "./serve-fake.ts";

describe("lm-eval's local-completions", () => {
  it("reads the tokenizer, and turns text into ids and back", async () => {
    await using served = await serveFake();
    const harness = new LmEval(served.baseUrl, "fake-model");
    expect(await harness.readTokenizerInfo()).toMatchObject({ eos_token: "<|im_end|>", bos_token: "<|begin|>" });
    const ids = await harness.encode("Hi wörld");
    expect(await harness.decode(ids)).toBe("Hi wörld");
  });

  it("scores continuations, several in one request, by their own positions", async () => {
    await using served = await serveFake();
    const harness = new LmEval(served.baseUrl, "fake-model");
    const scored = await harness.score([
      { context: [65, 66], continuation: [67] },
      { context: [65], continuation: [66, 67, 68] },
      { context: [200], continuation: [255] },
    ]);
    expect(scored.map(({ logprob }) => logprob)).toEqual([-0.67, expect.closeTo(-2.01, 9), -2.55]);
    expect(scored.every(({ isGreedy }) => isGreedy)).toBe(true);
    expect(served.model.requests.map(({ prompt }) => prompt)).toEqual([
      [65, 66, 67],
      [65, 66, 67, 68],
      [200, 255],
    ]);
    expect(served.model.requests[0]).toMatchObject({ maxTokens: 1, topLogprobs: 1, promptLogprobs: 1 });
  });

  it("generates until a stop", async () => {
    await using served = await serveFake({ reply: () => "The answer is 42.\n\nQuestion: more" });
    const harness = new LmEval(served.baseUrl, "fake-model");
    expect(await harness.generate([65], ["\n\n", "</s>"], 256)).toBe("The answer is 42.");
  });
});
