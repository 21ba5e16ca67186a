import { spawn, spawnSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { ENDLESS, serveFake, until } from "./serve-fake.ts";

const hasCurl = spawnSync("curl", ["--version"]).status === 0;

interface Ran {
  readonly code: number | null;
  readonly text: string;
}

function curl(
  args: readonly string[],
  onText: (text: string, stop: () => void) => void = () => undefined,
): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = spawn("curl", ["-sS", ...args], { stdio: ["ignore", "pipe", "inherit"] });
    let text = "";
    child.stdout.on("data", (bytes: Buffer) => {
      text += bytes.toString();
      onText(text, () => child.kill());
    });
    child.once("error", reject);
    child.once("close", (code) => resolve({ code, text }));
  });
}

// Where curl is not installed there is nothing to test.
describe.runIf(hasCurl)("plain curl", () => {
  const JSON_HEADER = ["-H", "content-type: application/json"];

  it("reads a stream as it comes, event by event", async () => {
    await using served = await serveFake({ reply: () => "one two" });
    const body = JSON.stringify({ prompt: "x", stream: true, max_tokens: 20 });
    const { code, text } = await curl(["-N", ...JSON_HEADER, "-d", body, `${served.baseUrl}/completions`]);
    expect(code).toBe(0);
    const events = text.trimEnd().split("\n\n");
    expect(events).toHaveLength(9);
    expect(events.at(-1)).toMatch(/^id: cmpl-\w+:9\ndata: \[DONE\]$/);
    expect(events[0]).toMatch(/^id: (cmpl-\w+):1\ndata: \{"id":"\1"[^\n]*"text":"o"/);
  });

  it("reads a chat while it comes: the first words before the last are there", async () => {
    let release = (): void => undefined;
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const beforeToken = (index: number): Promise<void> => (index === 4 ? held : Promise.resolve());
    await using served = await serveFake({ reply: () => "one two", beforeToken });
    const body = JSON.stringify({ messages: [{ role: "user", content: "Count" }], stream: true });
    let early = "";
    const { code, text } = await curl(
      ["-N", ...JSON_HEADER, "-d", body, `${served.baseUrl}/chat/completions`],
      (soFar) => {
        if (early !== "" || !soFar.includes('"content":" "')) return;
        early = soFar;
        release();
      },
    );
    expect(code).toBe(0);
    expect(early).not.toContain("[DONE]");
    expect(text.startsWith(early)).toBe(true);
    expect(text).toMatch(/"finish_reason":"stop"[\s\S]*data: \[DONE\]\n\n$/);
  });

  it("ends the generation when it is stopped", async () => {
    await using served = await serveFake(ENDLESS);
    const body = JSON.stringify({ prompt: "x", stream: true, max_tokens: 1000 });
    await curl(["-N", ...JSON_HEADER, "-d", body, `${served.baseUrl}/completions`], (text, stop) => {
      if (text.includes("data:")) stop();
    });
    await until(() => served.model.cancelled === 1);
    expect(served.model.running).toBe(0);
  });

  it("fails with -f where the server refuses, and says why without", async () => {
    await using served = await serveFake();
    const body = JSON.stringify({ prompt: "x", n: 99 });
    const { text } = await curl([...JSON_HEADER, "-d", body, `${served.baseUrl}/completions`]);
    expect(JSON.parse(text)).toMatchObject({ error: { param: "n" } });
    const noHeader = await curl(["-d", body, `${served.baseUrl}/completions`]);
    expect(JSON.parse(noHeader.text)).toMatchObject({ error: { code: "unsupported_media_type" } });
  });
});
