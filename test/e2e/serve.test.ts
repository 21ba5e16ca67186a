import { readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { UpDocument } from "./documents.ts";
import { type Running, runNoodle, STORYTELLER, startNoodle, tempPath } from "./noodle.ts";

const LIMIT_MS = 180_000;
const PROMPT = "Once upon a time there was a king who had three sons.";
const KEY = "a-key-for-this-test";

/** Starts `noodle up` on free ports and waits until it is ready. */
async function startServing(...args: readonly string[]) {
  const up = startNoodle(["up", ...args, "--port", "0", "--grpc-port", "0", "--data", tempPath("serve"), "--json"]);
  await up.said(/^\}$/m);
  return { up, document: UpDocument.parse(JSON.parse(up.stdout())) };
}

async function stop(up: Running): Promise<void> {
  up.child.kill("SIGINT");
  expect((await up.finished).code).toBe(130);
  expect(up.processes()).toEqual([]);
}

interface CompletionBody {
  readonly model: string;
  readonly choices: readonly { readonly text: string; readonly finish_reason: string }[];
}

async function complete(url: string, body: object, key?: string): Promise<{ status: number; body: CompletionBody }> {
  const response = await fetch(`${url}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", ...(key === undefined ? {} : { authorization: `Bearer ${key}` }) },
    body: JSON.stringify(body),
  });
  return { status: response.status, body: (await response.json()) as CompletionBody };
}

describe("noodle up with one model and a key", () => {
  let up: Running;
  let url = "";
  beforeAll(async () => {
    const keys = tempPath("keys.txt");
    writeFileSync(keys, `# for this test\n${KEY}\n`);
    const started = await startServing(STORYTELLER, "--workers", "2", "--alias", "story", "--api-key-file", keys);
    ({ up } = started);
    url = started.document.api_url;
  }, LIMIT_MS);
  afterAll(() => stop(up), LIMIT_MS);

  test("answers as the undivided engine does, to those who have the key", { timeout: LIMIT_MS }, async () => {
    const body = { model: "story", prompt: PROMPT, max_tokens: 16, temperature: 0 };
    expect((await complete(url, body)).status).toBe(401);
    const answer = await complete(url, body, KEY);
    expect(answer.status).toBe(200);
    const { stdout } = await runNoodle(["generate", STORYTELLER, "-p", PROMPT, "-n", "16", "--reference", "--json"]);
    expect(answer.body.choices[0]?.text).toBe((JSON.parse(stdout) as { text: string }).text);
  });

  test("serves the chat page, status and metrics to those who have the key", { timeout: LIMIT_MS }, async () => {
    expect((await fetch(url)).status).toBe(401);
    // What a browser sends when it has asked for a password.
    const basic = Buffer.from(`:${KEY}`).toString("base64");
    const page = await fetch(url, { headers: { authorization: `Basic ${basic}` } });
    expect(page.headers.get("content-security-policy")).toContain("default-src 'none'");
    expect(await page.text()).toContain("<title>");
    const get = (path: string): Promise<Response> =>
      fetch(`${url}${path}`, { headers: { authorization: `Bearer ${KEY}` } });
    expect(await (await get("/v1/status")).json()).toMatchObject({ schema: "noodle.status.v1" });
    expect(await (await get("/metrics")).text()).toContain("noodle_steps_total");
    expect((await get("/health")).status).toBe(200);
  });

  test("noodle status, batch and chat find it, with the key", { timeout: LIMIT_MS }, async () => {
    const env = { NOODLE_API_KEY: KEY };
    const status = await runNoodle(["status", "--url", url, "--json"], env);
    expect(JSON.parse(status.stdout)).toMatchObject({ health: { status: "ready" } });
    const input = tempPath("batch.jsonl");
    const output = tempPath("batch.out.jsonl");
    const bodies = ["a", "b", "c"].map((id) => ({
      custom_id: id,
      method: "POST",
      url: "/v1/completions",
      body: { prompt: PROMPT, max_tokens: 4, temperature: 0 },
    }));
    writeFileSync(input, bodies.map((body) => JSON.stringify(body)).join("\n"));
    const batch = await runNoodle(["batch", input, "-o", output, "--coordinator", url, "--json"], env);
    expect(JSON.parse(batch.stdout)).toMatchObject({ answered: 3, failed: 0, completion_tokens: 12 });
    const texts = readFileSync(output, "utf8")
      .trim()
      .split("\n")
      .map((line) => (JSON.parse(line) as { response: { body: CompletionBody } }).response.body.choices[0]?.text);
    expect(new Set(texts).size).toBe(1);
    // Nothing comes through its stdin, so the conversation is over before it begins.
    expect((await runNoodle(["chat", "--coordinator", url], env)).code).toBe(0);
    expect((await runNoodle(["chat", "--coordinator", url], { NOODLE_API_KEY: "another-key" })).code).toBe(2);
  });
});

test("two models in one cluster are chosen by their ids, and each has its own status", {
  timeout: LIMIT_MS,
}, async () => {
  const dummy = tempPath("dummy.gguf");
  await runNoodle(["dummy", "llama", "-o", dummy, "--layers", "3", "--seed", "3"]);
  const { up, document } = await startServing(STORYTELLER, dummy, "--workers", "1", "--alias", "story");
  expect(document.models.map(({ id }) => id)).toEqual(["story", "dummy"]);
  const [first, second] = await Promise.all(
    ["story", "dummy"].map((model) => complete(document.api_url, { model, prompt: PROMPT, max_tokens: 3 })),
  );
  expect([first?.status, first?.body.model]).toEqual([200, "story"]);
  expect([second?.status, second?.body.model]).toEqual([200, "dummy"]);
  expect((await complete(document.api_url, { model: "third", prompt: PROMPT })).status).toBe(404);
  expect((await complete(document.api_url, { prompt: PROMPT })).status).toBe(400);
  const status = await runNoodle(["status", "--url", document.api_url, "--model", "dummy", "--json"]);
  expect(JSON.parse(status.stdout)).toMatchObject({ coordinator: { address: document.models[1]?.grpc_address } });
  await stop(up);
});

test("noodle run answers once and leaves nothing behind", { timeout: LIMIT_MS }, async () => {
  const run = startNoodle(["run", STORYTELLER, PROMPT, "-n", "8", "--temperature", "0", "--json"]);
  const { code, stdout } = await run.finished;
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({ schema: "noodle.run.v1", kind: "completion", completion_tokens: 8 });
  expect(run.processes()).toEqual([]);
});

test("generate stops at a text, follows a grammar, and says how likely its tokens were", {
  timeout: LIMIT_MS,
}, async () => {
  const grammar = tempPath("digits.gbnf");
  writeFileSync(grammar, 'root ::= [0-9]+ "."\n');
  const args = ["generate", STORYTELLER, "-p", PROMPT, "--json"];
  const [bound, cut] = await Promise.all([
    runNoodle([...args, "-n", "12", "--grammar", grammar, "--logprobs", "2"]),
    runNoodle([...args, "-n", "40", "--stop", " the", "--data", tempPath("cut")]),
  ]);
  const digits = JSON.parse(bound.stdout) as { text: string; logprobs: readonly { top: readonly unknown[] }[] };
  expect(digits.text).toMatch(/^[0-9]+\.?$/);
  expect(digits.logprobs[0]?.top).toHaveLength(2);
  const story = JSON.parse(cut.stdout) as { text: string; finish_reason: string };
  expect(story.finish_reason).toBe("stop");
  expect(story.text).not.toContain(" the");
});
