import { describe, expect, test } from "vitest";
import { createApiServer, readChatPage } from "../src/api/index.ts";
import { openEvents, sendEvent, sendJson, startFakeApi } from "../src/cli/testing-api.ts";
import { findChromium, launchChromium } from "./browser.ts";
import { checkChat } from "./chat-check.ts";

const chromium = findChromium();
const HOSTILE = [
  "<img src=x onerror=alert(1)>",
  "<script>alert(2)</script>",
  '"><svg onload=alert(3)>',
  "https://elsewhere.example/ ",
  "\u202e\u0000\u001b[2J",
  "x".repeat(400),
];
const STAGES = [
  { name: "<b>one</b>", first_unit: 0, end_unit: 5, compute_ms_p50: 1.5, share: 0.6 },
  { name: "two", first_unit: 5, end_unit: 9, compute_ms_p50: 1, share: 0.4 },
];

/** The page as the server sends it, before an API whose answers mean harm. */
async function startHostileApi() {
  await using real = createApiServer({ page: await readChatPage() });
  await real.listen("127.0.0.1", 0);
  const page = await fetch(real.url);
  const html = await page.text();
  const headers = {
    "content-type": page.headers.get("content-type") ?? "",
    "content-security-policy": page.headers.get("content-security-policy") ?? "",
  };
  return await startFakeApi(async ({ path, body }, response) => {
    if (path === "/") return void response.writeHead(200, headers).end(html);
    if (path === "/v1/models") return sendJson(response, 200, { data: [{ id: "<i>model</i>" }] });
    if (path.startsWith("/tokenizer_info")) return sendJson(response, 200, { chat_template: "{{ }}" });
    openEvents(response);
    const say = (content: string): void =>
      sendEvent(response, { choices: [{ index: 0, delta: { content }, finish_reason: null }] });
    const isLong = JSON.stringify(body["messages"]).includes("long");
    for (const piece of HOSTILE) say(piece);
    while (!response.destroyed) {
      if (!isLong) break;
      say("and on ");
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    sendEvent(response, { choices: [{ index: 0, delta: {}, finish_reason: "stop" }], timings: { stages: STAGES } });
    sendEvent(response, { choices: [], usage: { prompt_tokens: 3, completion_tokens: HOSTILE.length } });
    sendEvent(response, "[DONE]");
    response.end();
  });
}

describe.skipIf(chromium === null)("the chat page in Chromium (skipped where there is none)", () => {
  test("streams, stops and forgets in light and dark, wide and narrow, and shows hostile text as text", async () => {
    await using api = await startHostileApi();
    const browser = await launchChromium(chromium ?? "");
    try {
      const { done, problems } = await checkChat(browser, api.url.href, { short: "short", long: "long" });
      expect(problems).toEqual([]);
      expect(done).toHaveLength(4);
      await expect.poll(api.left).toBe(2);
    } finally {
      await browser.close();
    }
  });
});

test("the page's policy lets it talk to its own server alone", async () => {
  await using api = createApiServer({ page: await readChatPage() });
  await api.listen("127.0.0.1", 0);
  const answer = await fetch(api.url);
  const policy = answer.headers.get("content-security-policy") ?? "";
  expect(policy).toContain("default-src 'none'");
  expect(policy).toContain("connect-src 'self'");
  expect(policy).not.toContain("unsafe");
  expect(await answer.text()).not.toMatch(/\/\* (style|script) \*\//);
});
