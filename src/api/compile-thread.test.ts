import { afterEach, describe, expect, it } from "vitest";
import { CompileThread } from "./compile-thread.ts";

const threads: CompileThread[] = [];
afterEach(() => {
  for (const thread of threads.splice(0)) thread.close();
});

function start(budgetMs = 20_000): CompileThread {
  const thread = new CompileThread(budgetMs);
  threads.push(thread);
  return thread;
}

const RENDER = {
  kind: "render",
  source: "{% for message in messages %}{{ message.content }}{% endfor %}",
  options: {},
  request: { messages: [{ role: "user", content: "Hi" }] },
} as const;

describe("the thread that compiles", () => {
  it("makes grammars of schemas, checks those that are given, and renders messages, in order", async () => {
    const thread = start();
    const [schema, grammar, rendered] = await Promise.all([
      thread.compile({ kind: "schema", schema: { type: "boolean" } }),
      thread.compile({ kind: "grammar", grammar: 'root ::= "a"' }),
      thread.render(RENDER),
    ]);
    expect(schema).toMatch(/^root ::=/m);
    expect(grammar).toBe('root ::= "a"');
    expect(rendered.text).toBe("Hi");
  });

  it("carries errors over with their codes, and goes on", async () => {
    const thread = start();
    const bad = thread.compile({ kind: "grammar", grammar: "root ::= (" });
    await expect(bad).rejects.toMatchObject({ code: "GRAMMAR_INVALID" });
    await expect(thread.render({ ...RENDER, source: "{% if %}" })).rejects.toMatchObject({ code: "TEMPLATE_FAILED" });
    expect(await thread.compile({ kind: "grammar", grammar: 'root ::= "b"' })).toBe('root ::= "b"');
  });

  it("gives up what takes longer than its budget, and starts the next one on another thread", async () => {
    const thread = start(1);
    const long = {
      kind: "schema",
      schema: { type: "array", items: { type: "string", maxLength: 1900 }, maxItems: 1900 },
    } as const;
    const outcomes = await Promise.allSettled([thread.compile(long), thread.render(RENDER)]);
    expect(outcomes[0]).toMatchObject({ status: "rejected", reason: { code: "GRAMMAR_INVALID" } });
    const reason = outcomes[1].status === "rejected" ? (outcomes[1].reason as { code: string }).code : "rendered";
    expect(["rendered", "TEMPLATE_FAILED"]).toContain(reason);
  });

  it("refuses at once when too much waits, and ends what waits when it is closed", async () => {
    const thread = start();
    const waiting = Array.from({ length: 65 }, (_, i) =>
      thread.compile({ kind: "grammar", grammar: `root ::= "${i}"` }),
    );
    const settled = Promise.allSettled(waiting);
    await expect(waiting[64]).rejects.toMatchObject({ code: "QUEUE_FULL" });
    thread.close();
    const codes = (await settled).map((outcome) =>
      outcome.status === "rejected" ? (outcome.reason as { code: string }).code : "done",
    );
    expect(new Set(codes)).toEqual(new Set(["INTERRUPTED", "QUEUE_FULL"]));
    expect(await thread.compile({ kind: "grammar", grammar: 'root ::= "again"' })).toBe('root ::= "again"');
  });
});
