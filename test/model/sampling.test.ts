import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  FakeStage,
  GREEDY,
  openStage,
  type RowRun,
  type SamplingParams,
  type Stage,
  type StageOutput,
  Tokenizer,
} from "../../src/engine/index.ts";

const MODEL = fileURLToPath(new URL("../../models/storyteller-q8_0.gguf", import.meta.url));
const PROMPT = "Once upon a time there was a little";
const SAMPLED: SamplingParams = { temperature: 1, topK: 0, topP: 1, minP: 0, repeatPenalty: 1, seed: 11 };

describe("the head of the bundled model", () => {
  let stage: Stage;
  let tokenizer: Tokenizer;
  let prompt: Int32Array;
  beforeAll(async () => {
    stage = await openStage({ stageFile: MODEL, contextTokens: 256, parallel: 3, threads: 1, maxRows: 128 });
    tokenizer = Tokenizer.open(MODEL);
    prompt = tokenizer.tokenize(PROMPT);
  });
  afterAll(() => {
    stage.close();
    tokenizer.close();
  });

  function feed(slot: number, position: number, tokens: ArrayLike<number>, change: Partial<RowRun> = {}): StageOutput {
    return stage.forward(
      {
        runs: [{ slot, position, rows: tokens.length, output: "last", ...change }],
        tokens: Int32Array.from(tokens),
        hidden: null,
      },
      { wantLogits: true },
    );
  }

  /** Generates until the end or `most` tokens. */
  function generate(sampling: SamplingParams, most: number): number[] {
    stage.openSlot(0, sampling, { promptTokens: prompt.length });
    const generated: number[] = [];
    let next = feed(0, 0, prompt).sampled[0]?.tokenId ?? -1;
    for (;;) {
      generated.push(next);
      if (generated.length === most || tokenizer.isEndOfGeneration(next)) return generated;
      next = feed(0, prompt.length + generated.length - 1, [next]).sampled[0]?.tokenId ?? -1;
    }
  }

  const textOf = (tokens: readonly number[]): string => tokenizer.detokenize(tokens);

  it.each([GREEDY, SAMPLED, { ...SAMPLED, topK: 20, typicalP: 0.7 }])(
    "follows a grammar to its end (%j)",
    (sampling) => {
      const grammar = 'root ::= " " ("cat" | "dog") (" and " [a-z]{3,5}){2} "."';
      const generated = generate({ ...sampling, grammar }, 60);
      expect(textOf(generated)).toMatch(/^ (cat|dog)( and [a-z]{3,5}){2}\.$/);
      expect(tokenizer.isEndOfGeneration(generated.at(-1) ?? -1)).toBe(true);
      expect(generate({ ...sampling, grammar }, 60)).toEqual(generated);
    },
  );

  it("leaves the choice alone where the grammar allows it anyway", () => {
    for (const sampling of [GREEDY, SAMPLED])
      expect(generate({ ...sampling, grammar: "root ::= .*" }, 25)).toEqual(generate(sampling, 25));
  });

  it("comes to the same text when a sequence is cut, or opened again with what it has", () => {
    const sampling = { ...SAMPLED, grammar: 'root ::= (" " [a-z]+ ","?){8} "."' };
    const generated = generate(sampling, 12);
    const all = [...prompt, ...generated];
    const sampleAt = (length: number): number | undefined => {
      stage.truncate(0, length - 1);
      return feed(0, length - 1, [all[length - 1] ?? 0]).sampled[0]?.tokenId;
    };
    for (const length of [all.length - 1, prompt.length + 3, prompt.length + 1, prompt.length])
      expect(sampleAt(length)).toBe(all[length]);
    stage.truncate(0, prompt.length - 1);
    feed(0, prompt.length - 1, all.slice(prompt.length - 1, -1));
    stage.closeSlot(0, true);
    for (const [slot, start] of [
      [1, { copyFrom: 0 }],
      [0, {}],
    ] as const) {
      const keepTokens = prompt.length + 5;
      stage.openSlot(slot, sampling, { keepTokens, promptTokens: prompt.length, ...start });
      const { sampled } = feed(slot, keepTokens, [all[keepTokens] ?? 0]);
      expect(sampled[0]?.tokenId).toBe(all[keepTokens + 1]);
    }
  });

  it("refuses a grammar or a parameter that it can not use, and leaves the slot as it was", () => {
    stage.openSlot(2, GREEDY);
    feed(2, 0, prompt);
    const open = (change: Partial<SamplingParams>) => () => stage.openSlot(2, { ...SAMPLED, ...change });
    for (const grammar of ["root ::= root", "nonsense", 'root ::= "a'])
      expect(open({ grammar })).toThrow(expect.objectContaining({ code: "GRAMMAR_INVALID" }));
    const wrong: Partial<SamplingParams>[] = [
      { temperature: Number.NaN },
      { temperature: -1 },
      { topK: 1.5 },
      { repeatPenalty: 0 },
      { typicalP: 2 },
      { presencePenalty: Number.POSITIVE_INFINITY },
      { penaltyLastTokens: -1 },
      { logitBias: [[tokenizer.vocabSize, 1]] },
      { logitBias: [[0, Number.NaN]] },
      { logitBias: [[0, Number.POSITIVE_INFINITY]] },
      { logitBias: Array.from({ length: 2000 }, () => [1, 0] as const) },
    ];
    for (const change of wrong)
      expect(open(change), JSON.stringify(change)).toThrow(expect.objectContaining({ code: "REQUEST_INVALID" }));
    expect(stage.nextPosition(2)).toBe(prompt.length);
  });

  it("bans and favours tokens, also those that a grammar asks for", () => {
    const [favourite = 0] = generate(GREEDY, 1);
    expect(generate({ ...GREEDY, logitBias: [[favourite, Number.NEGATIVE_INFINITY]] }, 1)).not.toEqual([favourite]);
    expect(generate({ ...SAMPLED, logitBias: [[77, 1000]] }, 3)).toEqual([77, 77, 77]);
    const only = tokenizer.tokenize("z", { addSpecial: false });
    expect(only).toHaveLength(1);
    const logitBias = [[only[0] ?? 0, Number.NEGATIVE_INFINITY]] as const;
    expect(generate({ ...GREEDY, grammar: 'root ::= "z"', logitBias }, 5)[0]).toBe(only[0]);
  });

  it("takes presence and frequency penalties from what was there within reach", () => {
    const logitBias = [
      [70, 500],
      [71, 450],
    ] as const;
    const run = (change: Partial<SamplingParams>): number[] => generate({ ...GREEDY, logitBias, ...change }, 8);
    expect(run({})).toEqual(Array.from({ length: 8 }, () => 70));
    const counts = (tokens: readonly number[]): number => tokens.filter((token) => token === 70).length;
    // Once each is there, presence no longer tells them apart; frequency does so for ever.
    expect(counts(run({ frequencyPenalty: 40 }))).toBeGreaterThan(2);
    expect(counts(run({ frequencyPenalty: 40 }))).toBeLessThan(7);
    expect(run({ presencePenalty: 100 }).slice(0, 2)).toEqual([70, 71]);
    expect(run({ presencePenalty: 100, penaltyLastTokens: 1 })).toEqual([70, 71, 70, 71, 70, 71, 70, 71]);
    expect(run({ presencePenalty: 100, penaltyLastTokens: 0 })).toEqual(run({}));
  });

  it("chooses among typical tokens only", () => {
    const few = new Set<number>();
    const many = new Set<number>();
    for (let seed = 0; seed < 40; seed++) {
      few.add(generate({ ...SAMPLED, seed, temperature: 3, typicalP: 0.05 }, 1)[0] ?? 0);
      many.add(generate({ ...SAMPLED, seed, temperature: 3 }, 1)[0] ?? 0);
    }
    expect(few.size).toBeLessThan(many.size / 2);
  });

  it("gives the log-probabilities of a prompt at once as it gives them one by one", () => {
    const text = tokenizer.tokenize("Lily went to the park with her mother and they played all day.");
    stage.openSlot(1, GREEDY);
    const { logprobs, sampled } = feed(1, 0, text, { output: "all", topLogprobs: 3 });
    expect(logprobs.map(({ row, tokenId }) => [row, tokenId])).toEqual(
      [...text.slice(1), sampled[0]?.tokenId].map((token, row) => [row, token]),
    );
    for (const [row, { logprob, top, tokenId }] of logprobs.entries()) {
      stage.openSlot(2, GREEDY);
      const logits = feed(2, 0, text.slice(0, row + 1)).sampled[0]?.logits ?? new Float32Array();
      const largest = Math.max(...logits);
      const sum = logits.reduce((total, value) => total + Math.exp(value - largest), 0);
      expect(logprob).toBeCloseTo((logits[tokenId] ?? 0) - largest - Math.log(sum), 5);
      expect(top).toHaveLength(3);
      expect(top[0]?.logprob).toBeCloseTo(-Math.log(sum), 5);
      expect(top.map((each) => each.logprob)).toEqual(top.map((each) => each.logprob).toSorted((a, b) => b - a));
    }
  });

  it("gives them over chunks as in one piece, and samples nothing where the prompt goes on", () => {
    const text = [...prompt, ...prompt, ...prompt];
    const score = (chunks: readonly number[]): [number, number][] => {
      stage.openSlot(1, GREEDY);
      let position = 0;
      return chunks.flatMap((rows) => {
        const following = text[position + rows] ?? null;
        const output = feed(1, position, text.slice(position, position + rows), {
          output: "all",
          topLogprobs: 0,
          following,
        });
        expect(output.sampled).toHaveLength(following === null ? 1 : 0);
        position += rows;
        return output.logprobs.map(({ tokenId, logprob }): [number, number] => [tokenId, logprob]);
      });
    };
    const whole = score([text.length]);
    expect(whole).toHaveLength(text.length);
    expect(score([1, 3, text.length - 4])).toEqual(whole);
    stage.openSlot(1, GREEDY);
    const last = feed(1, 0, text.slice(0, 5), { topLogprobs: 0, following: text[5] ?? 0 });
    expect([last.sampled, last.logprobs.map(({ row, tokenId }) => [row, tokenId])]).toEqual([[], [[4, text[5]]]]);
    expect(last.logprobs[0]?.logprob).toBe(whole[4]?.[1]);
  });

  it("gives the logits of as many rows as a micro-batch has", () => {
    const tokens = Array.from({ length: 128 }, (_, i) => 3 + i);
    stage.openSlot(1, GREEDY);
    const { logprobs } = feed(1, 0, tokens, { output: "all", topLogprobs: 1 });
    expect(logprobs).toHaveLength(128);
    expect(logprobs.every(({ logprob, top }) => logprob <= (top[0]?.logprob ?? -Infinity) && logprob < 0)).toBe(true);
  });
});

describe("the fake's head", () => {
  const model = { units: { first: 0, end: 5 }, layers: 3, nEmbd: 6, nVocab: 96, endToken: 95 };
  const open = (sampling: Partial<SamplingParams>): FakeStage => {
    const stage = new FakeStage(model, { stageFile: "", contextTokens: 64, parallel: 2, threads: 1 });
    stage.openSlot(0, { ...GREEDY, ...sampling }, { promptTokens: 2 });
    return stage;
  };

  it("follows a grammar, and gives log-probabilities", () => {
    const stage = open({ grammar: 'root ::= "a" [b-d]{2}' });
    const tokens = [7, 8];
    let text = "";
    for (let position = 0; ; position = tokens.length - 1) {
      const rows = tokens.length - position;
      const { sampled, logprobs } = stage.forward({
        runs: [{ slot: 0, position, rows, output: "all", topLogprobs: 2 }],
        tokens: Int32Array.from(tokens.slice(position)),
        hidden: null,
      });
      expect(logprobs.map(({ row }) => row)).toEqual(Array.from({ length: rows }, (_, row) => row));
      expect(logprobs.at(-1)?.tokenId).toBe(sampled[0]?.tokenId);
      const token = sampled[0]?.tokenId ?? -1;
      if (token === model.endToken) break;
      tokens.push(token);
      text += String.fromCharCode(0x20 + token);
    }
    expect(text).toMatch(/^a[b-d]{2}$/);
    expect(() => open({ grammar: "root ::= root" })).toThrow(expect.objectContaining({ code: "GRAMMAR_INVALID" }));
  });
});
