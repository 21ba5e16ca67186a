import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ServerResponse } from "node:http";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { collectHost } from "../host.ts";
import type { LineReader } from "../line-reader.ts";
import { runCli } from "../program.ts";
import { describeError, type FakeCall, openEvents, sendEvent, sendJson, startFakeApi } from "../testing-api.ts";

let folder = "";
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "noodle-chat-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

/** Lines as they come, and a keyboard's Ctrl-C. */
class Typed implements LineReader {
  readonly isTty: boolean;
  interrupt = (): void => undefined;
  readonly #lines: (string | (() => void))[];
  #closed = false;

  /** A function is called when its turn comes. */
  constructor(isTty: boolean, ...lines: readonly (string | (() => void))[]) {
    this.isTty = isTty;
    this.#lines = [...lines];
  }

  async next(): Promise<string | null> {
    for (;;) {
      const line = this.#closed ? undefined : this.#lines.shift();
      if (typeof line !== "function") return line ?? null;
      line();
    }
  }

  onInterrupt(listener: () => void): void {
    this.interrupt = listener;
  }

  close(): void {
    this.#closed = true;
  }
}

const TIMINGS = {
  stages: [{ name: "worker-1", first_unit: 0, end_unit: 9, compute_ms_p50: 2, share: 1 }],
};

function streamWords(response: ServerResponse, words: readonly string[], key: "delta" | "text" = "delta"): void {
  openEvents(response);
  for (const word of words) {
    const choice = key === "delta" ? { delta: { content: word } } : { text: word };
    sendEvent(response, { choices: [{ index: 0, ...choice, finish_reason: null }] });
  }
  sendEvent(response, { choices: [{ index: 0, delta: {}, text: "", finish_reason: "stop" }], timings: TIMINGS });
  const usage = { prompt_tokens: 7, completion_tokens: words.length, prompt_tokens_details: { cached_tokens: 3 } };
  sendEvent(response, { choices: [], usage });
  sendEvent(response, "[DONE]");
  response.end();
}

/** Answers what is asked before anything is said. */
const listModels = (call: FakeCall, response: ServerResponse, template: string | null = "{{ }}"): boolean => {
  if (call.path === "/v1/models") {
    sendJson(response, 200, { object: "list", data: [{ id: "one" }, { id: "two" }] });
  } else if (call.path.startsWith("/tokenizer_info?model=")) sendJson(response, 200, { chat_template: template });
  else return false;
  return true;
};

const findQuestions = (calls: readonly FakeCall[]): readonly FakeCall[] =>
  calls.filter(({ path }) => path.endsWith("completions"));

async function chat(url: URL, lines: LineReader, ...args: readonly string[]) {
  const host = { ...collectHost(), openLines: () => lines };
  const code = await runCli(["chat", "--coordinator", url.href, ...args], host);
  return { code, stdout: host.written.stdout, stderr: host.written.stderr };
}

describe("noodle chat", () => {
  test("each line through a pipe is a question, and its answer remembers what was said before", async () => {
    await using api = await startFakeApi((call, response) => {
      if (!listModels(call, response)) streamWords(response, ["good ", "day"]);
    });
    const { code, stdout } = await chat(
      api.url,
      new Typed(false, "hello", "", "how \\", "are you?"),
      "--system",
      "be kind",
      "--temperature",
      "0.5",
      "-n",
      "9",
    );
    expect({ code, stdout }).toEqual({ code: 0, stdout: "good day\ngood day\n" });
    const [first, second] = findQuestions(api.calls);
    expect(first?.body).toMatchObject({ model: "one", temperature: 0.5, max_tokens: 9 });
    expect(second?.body["messages"]).toEqual([
      { role: "system", content: "be kind" },
      { role: "user", content: "hello" },
      { role: "assistant", content: "good day" },
      { role: "user", content: "how \nare you?" },
    ]);
  });

  test("its commands reset, set the system prompt, save, and sum up", async () => {
    await using api = await startFakeApi((call, response) => {
      if (!listModels(call, response)) streamWords(response, ["yes"]);
    });
    const file = join(folder, "talk.json");
    const typed = new Typed(
      false,
      "a",
      "/reset",
      "/system be short",
      "b",
      `/save ${file}`,
      "/stats",
      "//c",
      "/exit",
      "d",
    );
    const { code, stderr } = await chat(api.url, typed, "--model-id", "two");
    expect(code).toBe(0);
    expect(JSON.parse(await readFile(file, "utf8"))).toEqual({
      schema: "noodle.chat.v1",
      model: "two",
      messages: [
        { role: "system", content: "be short" },
        { role: "user", content: "b" },
        { role: "assistant", content: "yes" },
      ],
    });
    expect(stderr).toContain("2 answers, 2 tokens");
    expect(stderr).toContain("worker-1: units 0:9");
    expect(api.calls.at(-1)?.body["messages"]).toContainEqual({ role: "user", content: "/c" });
  });

  test("with --json the whole conversation is the document", async () => {
    await using api = await startFakeApi((call, response) => {
      if (!listModels(call, response)) streamWords(response, ["yes"]);
    });
    const { stdout } = await chat(api.url, new Typed(false, "a"), "--json");
    expect(JSON.parse(stdout)).toMatchObject({
      schema: "noodle.chat.v1",
      messages: [{ content: "a" }, { content: "yes" }],
      completion_tokens: 1,
      cached_tokens: 3,
    });
  });

  test("Ctrl-C stops an answer, which stays; twice it leaves", async () => {
    const typed: Typed = new Typed(
      true,
      "first",
      "second",
      () => typed.interrupt(),
      () => typed.interrupt(),
      "never",
    );
    await using api = await startFakeApi((call, response) => {
      if (listModels(call, response)) return;
      const messages = call.body["messages"] as readonly { content: string }[];
      if (messages.length > 1) return streamWords(response, ["more"]);
      openEvents(response);
      sendEvent(response, { choices: [{ index: 0, delta: { content: "half an" }, finish_reason: null }] });
      setTimeout(() => typed.interrupt(), 50);
    });
    const { code, stdout } = await chat(api.url, typed);
    expect({ code, stdout }).toEqual({ code: 130, stdout: "half an\nmore\n" });
    await expect.poll(api.left).toBe(1);
    expect(api.calls.at(-1)?.body["messages"]).toEqual([
      { role: "user", content: "first" },
      { role: "assistant", content: "half an" },
      { role: "user", content: "second" },
    ]);
  });

  test("a model without a chat template goes on with the text", async () => {
    await using api = await startFakeApi((call, response) => {
      if (!listModels(call, response, null)) streamWords(response, [" upon"], "text");
    });
    const { code, stdout } = await chat(api.url, new Typed(false, "Once", " a time"));
    expect({ code, stdout }).toEqual({ code: 0, stdout: " upon\n upon\n" });
    expect(findQuestions(api.calls).map(({ path }) => path)).toEqual(["/v1/completions", "/v1/completions"]);
    expect(api.calls.at(-1)?.body["prompt"]).toBe("Once upon a time");
  });

  test("an error ends a script, and at a keyboard one goes on", async () => {
    await using api = await startFakeApi((call, response) => {
      if (listModels(call, response)) return;
      const messages = call.body["messages"] as readonly { content: string }[];
      if (messages.at(-1)?.content === "good") streamWords(response, ["yes"]);
      else sendJson(response, 429, describeError("rate_limit_exceeded", "later"));
    });
    expect((await chat(api.url, new Typed(false, "bad", "good"))).code).toBe(1);
    expect(await chat(api.url, new Typed(true, "bad", "/what", "good"))).toMatchObject({ code: 0, stdout: "yes\n" });
    expect(api.calls.at(-1)?.body["messages"]).toEqual([{ role: "user", content: "good" }]);
  });

  test("a model that is not served, or one of a file beside a cluster, is refused", async () => {
    await using api = await startFakeApi((call, response) => void listModels(call, response));
    expect((await chat(api.url, new Typed(false), "--model-id", "three")).code).toBe(2);
    expect((await chat(api.url, new Typed(false), "model.gguf")).code).toBe(2);
  });

  test("what a model writes can't steer the terminal", async () => {
    await using api = await startFakeApi((call, response) => {
      if (!listModels(call, response)) streamWords(response, ["a\u001b[2J\u0007\u009b31mb\tc\r\n"]);
    });
    const host = { ...collectHost(), openLines: () => new Typed(false, "x") };
    const stdout = { ...host.stdout, isTty: true };
    await runCli(["chat", "--coordinator", api.url.href], { ...host, stdout });
    expect(host.written.stdout).toBe("a[2J31mb\tc\n\n");
  });
});
