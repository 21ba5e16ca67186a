import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  addApiSamplingOptions,
  addSamplingOptions,
  addStopOption,
  readSampling,
  type SamplingOptions,
  type StopOptions,
  writeApiSampling,
} from "./sampling-options.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "noodle-sampling-"));
  await writeFile(join(folder, "a.gbnf"), 'root ::= "a"\n');
  await writeFile(join(folder, "a.json"), '{"type":"integer"}');
});
afterAll(() => rm(folder, { recursive: true, force: true }));

function parse(add: (command: Command) => Command, ...args: readonly string[]): SamplingOptions & StopOptions {
  const command = addStopOption(add(new Command().exitOverride()));
  return command.parse(["node", "noodle", ...args]).opts();
}

test("without options sampling is greedy, and a request to the API leaves all to it", async () => {
  expect(await readSampling(parse(addSamplingOptions))).toEqual({
    temperature: 0,
    topK: 0,
    topP: 1,
    minP: 0,
    repeatPenalty: 1,
    seed: 0,
  });
  expect(await writeApiSampling(parse(addApiSamplingOptions))).toEqual({});
});

const ALL = ["--typical-p", "0.9", "--presence-penalty", "-1", "--frequency-penalty", "0.5"];
const BIASES = ["--logit-bias", "5=-1.5", "--logit-bias", "7=-100"];

test("every option reaches the sampler, and -100 is a ban", async () => {
  const sampling = await readSampling(parse(addSamplingOptions, "--temperature", "0.5", ...ALL, ...BIASES));
  expect(sampling).toMatchObject({ topK: 40, typicalP: 0.9, presencePenalty: -1, frequencyPenalty: 0.5 });
  expect(sampling.logitBias).toEqual([
    [5, -1.5],
    [7, Number.NEGATIVE_INFINITY],
  ]);
});

test("every option becomes a field of the API's request", async () => {
  const options = parse(addApiSamplingOptions, ...ALL, ...BIASES, "--stop", "a", "--stop", "b", "--seed", "3");
  expect(await writeApiSampling(options)).toEqual({
    typical_p: 0.9,
    presence_penalty: -1,
    frequency_penalty: 0.5,
    logit_bias: { 5: -1.5, 7: -100 },
    seed: 3,
    stop: ["a", "b"],
  });
});

test("a grammar comes from its file, a schema as what the API and the sampler each want", async () => {
  const grammar = ["--grammar", join(folder, "a.gbnf")];
  const schema = ["--json-schema", join(folder, "a.json")];
  expect((await readSampling(parse(addSamplingOptions, ...grammar))).grammar).toBe('root ::= "a"\n');
  expect((await readSampling(parse(addSamplingOptions, ...schema))).grammar).toContain("root ::=");
  expect(await writeApiSampling(parse(addApiSamplingOptions, ...schema))).toEqual({
    response_format: { type: "json_schema", json_schema: { name: "answer", schema: { type: "integer" } } },
  });
  const both = readSampling(parse(addSamplingOptions, ...grammar, ...schema));
  await expect(both).rejects.toMatchObject({ code: "USAGE" });
  const missing = readSampling(parse(addSamplingOptions, "--grammar", join(folder, "none")));
  await expect(missing).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });
  const wrong = writeApiSampling(parse(addApiSamplingOptions, "--json-schema", join(folder, "a.gbnf")));
  await expect(wrong).rejects.toMatchObject({ code: "GRAMMAR_INVALID" });
});

test.each([
  ["--logit-bias", "word=1"],
  ["--logit-bias", "1=101"],
  ["--presence-penalty", "3"],
  ["--stop", ""],
  ["--stop", "x".repeat(129)],
])("%s %s is wrong usage", (...args) => {
  expect(() => parse(addSamplingOptions, ...args)).toThrow(expect.objectContaining({ code: "USAGE" }));
});
