import { afterEach, describe, expect, it } from "vitest";
import { NoodleError } from "../../common/index.ts";
import { StreamRole, writeSessionId } from "../../protocol/index.ts";
import {
  closeSession,
  createSession,
  EPOCH,
  LAYERS,
  makeFrame,
  makeRun,
  sessionId,
  startTestHost,
  type TestHost,
  TestStream,
  tokenIds,
} from "./testing.ts";

const PROMPT = [3, 1, 4, 1, 5, 9, 2, 6];

const hosts: TestHost[] = [];
afterEach(async () => {
  for (const host of hosts.splice(0)) await host.close();
});

/** One host with all units, and what computes on it. */
class Bench {
  readonly host: TestHost;
  readonly steps: TestStream;
  readonly results: TestStream;
  #stepId = 0;

  constructor(host: TestHost, steps: TestStream, results: TestStream) {
    this.host = host;
    this.steps = steps;
    this.results = results;
  }

  static async start(): Promise<Bench> {
    const host = await startTestHost(0, LAYERS + 2);
    hosts.push(host);
    await host.load();
    const results = await TestStream.open(host.client, StreamRole.RESULTS);
    return new Bench(host, await TestStream.open(host.client), results);
  }

  create(id: string, slot: number, prefix?: { of: string; slot: number; tokens: number }): Promise<number> {
    const start =
      prefix === undefined
        ? {}
        : { prefix: { sessionId: writeSessionId(prefix.of), slot: prefix.slot, tokens: prefix.tokens } };
    return createSession(this.host.client, slot, { sessionId: writeSessionId(id), ...start });
  }

  send(id: string, slot: number, position: number, tokens: readonly number[]): void {
    const run = makeRun(slot, position, tokens.length, { sessionId: id });
    this.steps.send(makeFrame(++this.#stepId, [run], tokens));
  }

  /** Computes tokens and gives what was sampled behind them. */
  async compute(id: string, slot: number, position: number, tokens: readonly number[]): Promise<readonly number[]> {
    this.send(id, slot, position, tokens);
    const result = await this.results.next("result");
    await this.steps.next("ack");
    return tokenIds(result);
  }

  async kv(id: string): Promise<readonly string[]> {
    const request = { epoch: BigInt(EPOCH), sessionId: writeSessionId(id), hashOnly: true };
    const hashes: string[] = [];
    for await (const { sha256 } of this.host.client.rpc.readKv(request, { timeoutMs: 2000 })) {
      hashes.push(Buffer.from(sha256).toString("hex"));
    }
    return hashes;
  }
}

const A = sessionId(10);
const B = sessionId(11);
const PLAIN = sessionId(12);

async function codeOf(action: () => Promise<unknown>): Promise<string> {
  try {
    await action();
  } catch (error) {
    return NoodleError.from(error).code;
  }
  return "nothing thrown";
}

function makeGate(): { readonly closed: Promise<void>; readonly open: () => void } {
  let open = (): void => undefined;
  const closed = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { closed, open: () => open() };
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}

describe("a session that starts with what another has computed", () => {
  it.each([
    ["in the slot that kept it", 0],
    ["in another slot", 2],
  ])("computes the rest as one that has computed everything, %s", async (_where, slot) => {
    const bench = await Bench.start();
    await bench.create(PLAIN, 3);
    const expected = await bench.compute(PLAIN, 3, 0, PROMPT);
    await bench.create(A, 0);
    await bench.compute(A, 0, 0, [...PROMPT.slice(0, 5), 40, 41]);
    expect(await closeSession(bench.host.client, A, true)).toBe(7);
    expect(await bench.create(B, slot, { of: A, slot: 0, tokens: 5 })).toBe(5);
    // A second call of the same session finds it, whatever has become of what it started with.
    expect(await bench.create(B, slot, { of: A, slot: 0, tokens: 5 })).toBe(5);
    expect(await bench.compute(B, slot, 5, PROMPT.slice(5))).toEqual(expected);
    expect(await bench.kv(B)).toEqual(await bench.kv(PLAIN));
    expect((await bench.kv(B)).length).toBeGreaterThan(0);
    // Only a copy leaves what was there.
    const again = (): Promise<unknown> => bench.create(sessionId(13), 1, { of: A, slot: 0, tokens: 7 });
    expect(await codeOf(again)).toBe(slot === 0 ? "PREFIX_GONE" : "nothing thrown");
  });

  it("takes from a running session what that had computed before, and leaves it as it is", async () => {
    const bench = await Bench.start();
    await bench.create(PLAIN, 3);
    const expected = await bench.compute(PLAIN, 3, 0, PROMPT);
    const whole = await bench.kv(PLAIN);
    await bench.create(A, 0);
    await bench.compute(A, 0, 0, PROMPT.slice(0, 4));
    const gate = makeGate();
    bench.host.engine.gate = gate.closed;
    bench.send(A, 0, 4, PROMPT.slice(4));
    await until(() => bench.host.engine.forwards === 3);
    const early = codeOf(() => bench.create(sessionId(13), 1, { of: A, slot: 0, tokens: 5 }));
    const copying = bench.create(B, 2, { of: A, slot: 0, tokens: 4 });
    expect(await early).toBe("PREFIX_GONE");
    gate.open();
    expect(await copying).toBe(4);
    expect(tokenIds(await bench.results.next("result"))).toEqual(expected);
    await bench.steps.next("ack");
    expect(await bench.compute(B, 2, 4, PROMPT.slice(4))).toEqual(expected);
    expect([await bench.kv(A), await bench.kv(B)]).toEqual([whole, whole]);
  });

  it("is refused where that is gone, and nothing has changed", async () => {
    const bench = await Bench.start();
    const tryStart = (of: string, slot: number, tokens: number): Promise<string> =>
      codeOf(() => bench.create(B, 1, { of, slot, tokens }));
    await bench.create(A, 0);
    await bench.compute(A, 0, 0, PROMPT);
    expect(await tryStart(A, 0, 9)).toBe("PREFIX_GONE");
    expect(await tryStart(A, 1, 4)).toBe("PREFIX_GONE");
    expect(await tryStart(PLAIN, 0, 4)).toBe("PREFIX_GONE");
    expect(bench.host.host.sessions).toBe(1);
    expect(await closeSession(bench.host.client, A, true)).toBe(PROMPT.length);
    expect(await closeSession(bench.host.client, A, true)).toBe(PROMPT.length);
    expect(await tryStart(A, 0, 9)).toBe("PREFIX_GONE");
    // Nobody's lease frees what is kept.
    bench.host.clock.ms += 1e6;
    await bench.host.host.expireSessions();
    expect(await tryStart(A, 0, 8)).toBe("nothing thrown");
    // A second end without keeping does, and so do another session in the slot, and another epoch.
    expect(await closeSession(bench.host.client, A)).toBe(0);
    expect(await closeSession(bench.host.client, A)).toBe(null);
    expect(await closeSession(bench.host.client, B, true)).toBe(8);
    await bench.create(PLAIN, 1);
    expect(await closeSession(bench.host.client, PLAIN)).toBe(0);
    expect(await tryStart(B, 1, 4)).toBe("PREFIX_GONE");
    await bench.create(A, 0);
    await bench.compute(A, 0, 0, PROMPT);
    expect(await closeSession(bench.host.client, A, true)).toBe(PROMPT.length);
    await bench.host.load();
    expect(await tryStart(A, 0, 4)).toBe("PREFIX_GONE");
  });

  it("is not there when its opening fails, and its slot is free", async () => {
    const bench = await Bench.start();
    expect(await codeOf(() => bench.create(A, 9))).toBe("SESSION_LIMIT");
    expect(await codeOf(() => bench.create(A, 9))).toBe("SESSION_LIMIT");
    expect(bench.host.host.sessions).toBe(0);
    expect(await bench.create(A, 0)).toBe(0);
  });
});

describe("the end of a session", () => {
  it("comes behind the steps that arrived before, and before the next session of its slot", async () => {
    const bench = await Bench.start();
    await bench.create(A, 0);
    const gate = makeGate();
    bench.host.engine.gate = gate.closed;
    bench.send(A, 0, 0, PROMPT);
    await until(() => bench.host.engine.forwards === 1);
    const closing = [closeSession(bench.host.client, A, true), closeSession(bench.host.client, A, true)];
    const next = bench.create(B, 0, { of: A, slot: 0, tokens: 8 });
    gate.open();
    expect(await Promise.all(closing)).toEqual([8, 8]);
    expect(await next).toBe(8);
    expect(tokenIds(await bench.results.next("result"))).toHaveLength(1);
  });

  it("spares the engine the steps that nobody waits for any more, but not those of others beside it", async () => {
    const bench = await Bench.start();
    for (const [slot, id] of [A, B].entries()) await bench.create(id, slot);
    const gate = makeGate();
    bench.host.engine.gate = gate.closed;
    bench.send(A, 0, 0, [1]);
    bench.send(A, 0, 1, [2]);
    const both = [makeRun(0, 2, 1, { sessionId: A }), makeRun(1, 0, 1, { sessionId: B })];
    bench.steps.send(makeFrame(3, both, [3, 4]));
    await until(() => bench.host.engine.forwards === 1);
    const closing = closeSession(bench.host.client, A);
    // On the same connection, so behind the call above.
    await bench.host.client.rpc.ping({}, { timeoutMs: 2000 });
    gate.open();
    expect((await bench.results.next("result")).stepId).toBe(1n);
    await bench.steps.next("ack");
    const dropped = await bench.steps.nextError();
    expect([dropped.stepId, dropped.error.code]).toEqual([2, "SESSION_NOT_FOUND"]);
    expect(dropped.error.details["sessionIds"]).toEqual([A]);
    // The rows of the ended one do not fit any more: the step names it, and the other goes on.
    const refused = await bench.steps.nextError();
    expect([refused.stepId, refused.error.details["sessionIds"]]).toEqual([3, [A]]);
    expect(await closing).toBe(0);
    expect(await bench.compute(B, 1, 0, [4])).toHaveLength(1);
    expect(bench.host.engine.forwards).toBe(2);
  });
});
