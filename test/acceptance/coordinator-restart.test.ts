import { createServer } from "node:net";
import { afterAll, expect, it } from "vitest";
import { readEvents } from "../../src/api/testing.ts";
import { type Running, startNoodle, STORYTELLER, tempPath } from "../e2e/noodle.ts";

const started: Running[] = [];
afterAll(() => {
  for (const { child } of started) child.kill("SIGKILL");
});

function start(args: readonly string[], data: string): Running {
  const running = startNoodle(args, { NOODLE_DATA_DIR: tempPath(data) });
  started.push(running);
  return running;
}

/** What came until the stream, or its server, ended. */
async function readAll(response: Response): Promise<string> {
  let text = "";
  const decoder = new TextDecoder();
  try {
    for await (const bytes of response.body ?? []) text += decoder.decode(bytes as Uint8Array, { stream: true });
  } catch {
    // The server was killed.
  }
  return text.slice(0, text.lastIndexOf("\n\n") + 2);
}

it("streams go on with the very next token after their coordinator was killed and started again", async () => {
  const [http, grpc] = [await findFreePort(), await findFreePort()];
  const args = ["coordinator", STORYTELLER, "--expect", "2", "--threads", "1", "--context", "256", "--journal"];
  const coordinate = (): Running => start([...args, "--port", `${http}`, "--grpc-port", `${grpc}`], "coordinator");
  const killed = coordinate();
  start(["worker", "--join", `127.0.0.1:${grpc}`, "--name", "a", "--emulate-speed", "6"], "a");
  start(["worker", "--join", `127.0.0.1:${grpc}`, "--name", "b"], "b");
  await killed.said("ready: noodle");

  const send = (path: string, seed: number, headers: Record<string, string> = {}): Promise<Response> => {
    const sampling = { temperature: 1, seed, ignore_eos: true, max_tokens: 60, timings: false, stream: true };
    const words = "Once upon a time";
    const prompt = path === "completions" ? { prompt: words } : { messages: [{ role: "user", content: words }] };
    return fetch(`http://127.0.0.1:${http}/v1/${path}`, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify({ ...prompt, ...sampling }),
    });
  };
  const undisturbed = readEvents(await readAll(await send("completions", 1)));
  const named = { "idempotency-key": "one" };
  const readings = [readAll(await send("completions", 1)), readAll(await send("completions", 2, named))];
  await new Promise((resolve) => setTimeout(resolve, 400));
  killed.child.kill("SIGKILL");
  const firsts = (await Promise.all(readings)).map((text) => readEvents(text));
  const again = coordinate();
  for (const first of firsts) expect(first.length).toBeLessThan(60);

  const last = { "last-event-id": firsts[0]?.at(-1)?.id ?? "" };
  let answer: Response | null = null;
  while (answer?.status !== 200) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    answer = await send("completions", 1, last).catch(() => null);
  }
  const rest = readEvents(await readAll(answer));
  const whole = [...(firsts[0] ?? []), ...rest];
  expect(whole.map(({ id }) => Number(id?.split(":")[1]))).toEqual(whole.map((_, index) => index + 1));
  expect(readText(whole)).toBe(readText(undisturbed));
  // By its name the whole of it comes again.
  const other = readEvents(await readAll(await send("completions", 2, named)));
  expect(other.slice(0, firsts[1]?.length)).toEqual(firsts[1]);
  expect(other.at(-1)?.data).toBe("[DONE]");
  expect(again.child.exitCode).toBeNull();
  again.child.kill("SIGTERM");
  expect((await again.finished).code).toBe(130);
});

it("a coordinator whose state another one has taken says so, and ends", async () => {
  const [http, grpc] = [await findFreePort(), await findFreePort()];
  const args = ["coordinator", STORYTELLER, "--expect", "1", "--port", `${http}`, "--grpc-port", `${grpc}`];
  const first = start(args, "taken");
  await first.said("start 1 of");
  const second = start([...args, "--host", "127.0.0.2"], "taken");
  await second.said("start 1 of");
  const { code, stderr } = await first.finished;
  expect([code, /STATE_TAKEN/.test(stderr)]).toEqual([1, true]);
  second.child.kill("SIGTERM");
  expect((await second.finished).code).toBe(130);
});

function readText(events: ReturnType<typeof readEvents>): string {
  const chunks = events.slice(0, -1).map(({ data }) => JSON.parse(data) as { choices: { text: string }[] });
  return chunks.map(({ choices }) => choices[0]?.text ?? "").join("");
}

function findFreePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer();
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0));
    });
  });
}
