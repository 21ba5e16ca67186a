import { appendFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { collectHost } from "../host.ts";
import { runCli } from "../program.ts";
import { describeError, type FakeHandler, sendJson, startFakeApi } from "../testing-api.ts";

let folder = "";
let input = "";
let output = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "noodle-batch-"));
  input = join(folder, "in.jsonl");
  output = join(folder, "out.jsonl");
});
afterEach(() => rm(folder, { recursive: true, force: true }));

interface Line {
  readonly custom_id: string | null;
  readonly response: { readonly status_code: number; readonly body: { readonly text: string } } | null;
  readonly error: { readonly code: string; readonly line: number } | null;
}

const request = (id: string, body: object = { prompt: id }): string =>
  JSON.stringify({ custom_id: id, method: "POST", url: "/v1/completions", body });
const writeInput = (...lines: readonly string[]): Promise<void> => writeFile(input, `${lines.join("\n")}\n`);
const readOutput = async (): Promise<readonly Line[]> =>
  (await readFile(output, "utf8"))
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Line);
const readIds = async (): Promise<readonly (string | null)[]> =>
  (await readOutput()).map((line) => line.custom_id).sort((a, b) => String(a).localeCompare(String(b)));

/** Answers with the prompt in capitals. */
const SHOUT: FakeHandler = ({ body }, response) =>
  sendJson(response, 200, {
    text: String(body["prompt"]).toUpperCase(),
    usage: { prompt_tokens: 2, completion_tokens: 3 },
  });

async function batch(url: URL, ...more: readonly string[]) {
  const host = { ...collectHost(), nowMs: () => performance.now() };
  const args = ["batch", input, "-o", output, "--coordinator", url.href, "--json", ...more];
  const code = await runCli(args, host);
  const document: unknown = host.written.stdout === "" ? null : JSON.parse(host.written.stdout);
  return { code, document, stderr: host.written.stderr };
}

describe("noodle batch", () => {
  test("answers every line once, and a second run has nothing left to do", async () => {
    await writeInput(...Array.from({ length: 20 }, (_, index) => request(`r${index}`)));
    await using api = await startFakeApi(SHOUT);
    const first = await batch(api.url, "--concurrency", "4");
    expect(first.code).toBe(0);
    expect(first.document).toMatchObject({
      schema: "noodle.batch.v1",
      lines: 20,
      skipped: 0,
      answered: 20,
      failed: 0,
      prompt_tokens: 40,
      completion_tokens: 60,
    });
    const lines = await readOutput();
    expect(new Set(lines.map((line) => line.custom_id)).size).toBe(20);
    for (const line of lines) {
      expect(line).toMatchObject({ response: { status_code: 200, body: { text: line.custom_id?.toUpperCase() } } });
      expect(line.error).toBeNull();
    }
    expect((await batch(api.url)).document).toMatchObject({ skipped: 20, answered: 0 });
    expect(await readOutput()).toEqual(lines);
    expect(api.calls).toHaveLength(20);
  });

  test("an answer of the API that is an error is an answer, and runs again when that is wanted", async () => {
    await writeInput(request("good"), request("bad"));
    let isBad = true;
    await using api = await startFakeApi((call, response) =>
      isBad && call.body["prompt"] === "bad"
        ? sendJson(response, 400, describeError("request_invalid", "no"))
        : SHOUT(call, response),
    );
    expect(await batch(api.url)).toMatchObject({ code: 0, document: { answered: 2, failed: 1 } });
    expect((await readOutput()).find((line) => line.custom_id === "bad")?.response?.status_code).toBe(400);
    expect(await batch(api.url)).toMatchObject({ document: { skipped: 2, failed_before: 1 } });
    isBad = false;
    expect(await batch(api.url, "--retry-failed")).toMatchObject({ document: { skipped: 1, answered: 1, failed: 0 } });
    expect((await readOutput()).map((line) => line.response?.status_code)).toEqual([200, 200]);
    expect(await readIds()).toEqual(["bad", "good"]);
  });

  test("what is no request gets an error line of its own, once", async () => {
    await writeInput(
      request("good"),
      "{not json",
      '{"custom_id":"","method":"POST","url":"/v1/completions","body":{}}',
      '{"custom_id":"get","method":"GET","url":"/v1/completions","body":{}}',
      '{"custom_id":"where","method":"POST","url":"/v1/elsewhere","body":{}}',
      '{"custom_id":"what","method":"POST","url":"/v1/completions","body":[]}',
      request("streamed", { prompt: "a", stream: true }),
      "",
      "[]",
    );
    await appendFile(input, Buffer.from([0xff, 0xfe, 0x0a]));
    await using api = await startFakeApi(SHOUT);
    const { code, document } = await batch(api.url);
    expect(code).toBe(0);
    expect(document).toMatchObject({ lines: 9, answered: 9, failed: 8, malformed: 8 });
    const lines = await readOutput();
    expect(lines.flatMap((line) => line.error?.line ?? []).sort((a, b) => a - b)).toEqual([2, 3, 4, 5, 6, 7, 9, 10]);
    expect(lines.filter((line) => line.custom_id === null)).toHaveLength(4);
    expect(await batch(api.url)).toMatchObject({ document: { answered: 0, skipped: 9 } });
    expect(api.calls).toHaveLength(1);
  });

  test("a custom_id that comes twice is refused with its lines, before anything is sent", async () => {
    await writeInput(request("a"), request("b"), request("a"), request("a"));
    await using api = await startFakeApi(SHOUT);
    const { code, stderr } = await batch(api.url);
    expect(code).toBe(2);
    expect(stderr).toContain('"a" on lines 1, 3, 4');
    expect(api.calls).toEqual([]);
  });

  test("a half-written last line is taken away, a whole one without its end is kept", async () => {
    await writeInput(request("a"), request("b"), request("c"));
    await using api = await startFakeApi(SHOUT);
    await batch(api.url);
    const whole = await readFile(output);
    const ends = [...whole.entries()].filter(([, byte]) => byte === 10).map(([at]) => at);
    const [first = 0, second = 0] = ends;
    for (let cut = first; cut <= second + 1; cut += 7) {
      await writeFile(output, whole.subarray(0, cut));
      expect((await batch(api.url)).code).toBe(0);
      expect(await readIds()).toEqual(["a", "b", "c"]);
    }
    await writeFile(output, whole.subarray(0, second));
    expect(await batch(api.url)).toMatchObject({ document: { skipped: 2, repaired_bytes: 0 } });
    expect(await readIds()).toEqual(["a", "b", "c"]);
  });

  test("a file that is no output of a batch stays as it is", async () => {
    await writeInput(request("a"));
    const other = "a letter\nof two lines\n";
    await writeFile(output, other);
    await using api = await startFakeApi(SHOUT);
    expect((await batch(api.url)).document).toMatchObject({ code: "FILE_UNREADABLE" });
    expect(await readFile(output, "utf8")).toBe(other);
  });

  test("waits as long as it is told to, and tries again what the server could not do", async () => {
    await writeInput(request("a"));
    const tries: number[] = [];
    const answers: FakeHandler[] = [
      (_, response) =>
        sendJson(response, 429, describeError("rate_limit_exceeded", "later"), { "retry-after-ms": "60" }),
      (_, response) => sendJson(response, 503, describeError("cluster_not_ready", "later"), { "retry-after-ms": "5" }),
      (_, response) => void response.destroy(),
      (_, response) => sendJson(response, 502, describeError("peer_dead", "gone")),
      SHOUT,
    ];
    await using api = await startFakeApi((call, response) => {
      tries.push(performance.now());
      return answers[tries.length - 1]?.(call, response);
    });
    expect(await batch(api.url)).toMatchObject({ code: 0, document: { answered: 1, failed: 0 } });
    expect(tries).toHaveLength(5);
    expect((tries[1] ?? 0) - (tries[0] ?? 0)).toBeGreaterThanOrEqual(59);
  });

  test("gives up when it is put off for too long, and what was answered stays", async () => {
    await writeInput(request("a"), request("b"));
    await using api = await startFakeApi((call, response) =>
      call.body["prompt"] === "a"
        ? SHOUT(call, response)
        : sendJson(response, 503, describeError("cluster_not_ready", "no")),
    );
    const { code, document } = await batch(api.url, "--retry-for", "100ms", "--concurrency", "1");
    expect({ code, document }).toMatchObject({ code: 1, document: { code: "CLUSTER_NOT_READY" } });
    expect(await readIds()).toEqual(["a"]);
  });

  test("where nobody answers it ends with the code for that, and leaves an output to go on from", async () => {
    await writeInput(request("a"));
    const api = await startFakeApi(SHOUT);
    await api[Symbol.asyncDispose]();
    expect((await batch(api.url, "--retry-for", "50ms")).code).toBe(3);
    expect(await readFile(output, "utf8")).toBe("");
  });

  test("options that contradict each other, or the input as output, are wrong usage", async () => {
    await writeInput(request("a"));
    await using api = await startFakeApi(SHOUT);
    expect((await batch(api.url, "--model", "model.gguf")).code).toBe(2);
    expect((await batch(api.url, "--workers", "2")).code).toBe(2);
    output = input;
    expect((await batch(api.url)).code).toBe(2);
    expect(api.calls).toEqual([]);
  });
});
