import { readFileSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { type FakeHandler, sendJson, startFakeApi } from "../../src/cli/testing-api.ts";
import { startNoodle, tempPath } from "./noodle.ts";

const LIMIT_MS = 120_000;
const REQUESTS = 400;
/** Answers that a run sees before it is ended. */
const ENOUGH = 25;
const LONGEST_PAUSE_MS = 6;

/** A small generator of its own: which answers come late is the same in every run of the test. */
function makeRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return state / 2 ** 31;
  };
}

test("no line is lost or doubled when a batch is killed and interrupted again and again", {
  timeout: LIMIT_MS,
}, async () => {
  const input = tempPath("in.jsonl");
  const output = tempPath("out.jsonl");
  const ids = Array.from({ length: REQUESTS }, (_, index) => `request-${index}`);
  const lines = ids.map((id) =>
    JSON.stringify({ custom_id: id, method: "POST", url: "/v1/completions", body: { prompt: id } }),
  );
  writeFileSync(input, `${lines.join("\n")}\n`);
  const random = makeRandom(7);
  let answered = 0;
  let onEnough = (): void => undefined;
  const handler: FakeHandler = async ({ body }, response) => {
    await new Promise((resolve) => setTimeout(resolve, random() * LONGEST_PAUSE_MS));
    sendJson(response, 200, { text: `${String(body["prompt"])} ${"x".repeat(random() * 5000)}` });
    answered += 1;
    if (answered === ENOUGH) onEnough();
  };
  await using api = await startFakeApi(handler);
  const args = ["batch", input, "-o", output, "--coordinator", api.url.href, "--concurrency", "8", "--json"];

  for (const signal of ["SIGKILL", "SIGINT", "SIGKILL", "SIGTERM", "SIGKILL"] as const) {
    answered = 0;
    const run = startNoodle(args);
    onEnough = () => run.child.kill(signal);
    const { code } = await run.finished;
    expect(code).toBe(signal === "SIGKILL" ? null : 130);
    expect(readWhole(output).length).toBeGreaterThan(0);
  }
  // Half a line more, as a machine that loses its power leaves it.
  writeFileSync(output, '{"id":"batch_req_0","custom_id":"request-', { flag: "a" });
  answered = 0;
  onEnough = () => undefined;
  const { code, stdout } = await startNoodle(args).finished;
  expect(code).toBe(0);
  const found = readWhole(output);
  expect(found).toHaveLength(REQUESTS);
  expect([...found].sort()).toEqual([...ids].sort());
  const document: unknown = JSON.parse(stdout);
  expect(document).toMatchObject({ schema: "noodle.batch.v1", lines: REQUESTS, answered, failed: 0 });
  expect(answered).toBeLessThan(REQUESTS);
});

/** Ids of the lines that are whole, in order; each must have its own answer. */
function readWhole(path: string): readonly string[] {
  const lines = readFileSync(path, "utf8").split("\n");
  return lines.slice(0, -1).map((line) => {
    const { custom_id: id, response } = JSON.parse(line) as {
      custom_id: string;
      response: { body: { text: string } };
    };
    expect(response.body.text.split(" ")[0]).toBe(id);
    return id;
  });
}
