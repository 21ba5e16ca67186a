import { describe, expect, it } from "vitest";
import { must } from "../../common/index.ts";
import type { Session } from "./session.ts";
import { type PromptFacts, SlotBook } from "./slot-book.ts";
import { createSession } from "./testing.ts";

const counting = (from: number, count: number): number[] => Array.from({ length: count }, (_, index) => from + index);

function createBook(slots: number, limitBytes = Number.POSITIVE_INFINITY): SlotBook {
  return new SlotBook({ slots, limitBytes, countReuse: (_notes, tokens) => tokens });
}

const prompt = (tokens: readonly number[], client = "a"): PromptFacts => ({ client, tokens, cachePrompt: true });

/** Takes a slot, and leaves in it what was computed there. */
function leave(book: SlotBook, tokens: readonly number[], client = "a"): number {
  const { slot } = must(book.take(prompt(tokens, client)), "place");
  book.release(slot, { slot, sessionId: `s${slot}`, client, tokens, notes: [], bytes: tokens.length });
  return slot;
}

/** A session that runs in a slot and has computed so many positions. */
function occupy(book: SlotBook, tokens: readonly number[], answeredRows: number): Session {
  const { slot } = must(book.take(prompt(tokens)), "place");
  const { session } = createSession({ client: "a" }, tokens, { slot, id: `r${slot}` });
  session.answer(answeredRows);
  book.settle(session);
  return session;
}

describe("SlotBook", () => {
  it("gives each prompt a slot of its own, until none is free", () => {
    const book = createBook(2);
    expect(book.take(prompt([1]))).toEqual({ slot: 0, source: null });
    expect(book.take(prompt([1]))).toEqual({ slot: 1, source: null });
    expect(book.take(prompt([1]))).toBeNull();
    expect(book.hasFree).toBe(false);
    book.release(0, null);
    expect(book.take(prompt([1]))?.slot).toBe(0);
  });

  it("goes on in place with a conversation, and copies a small part of one", () => {
    const book = createBook(3);
    leave(book, counting(0, 40));
    expect(book.take(prompt(counting(0, 60)))).toMatchObject({ slot: 0, source: { slot: 0, tokens: 40 } });
    book.release(0, { slot: 0, sessionId: "s0", client: "a", tokens: counting(0, 60), notes: [], bytes: 60 });
    const part = [...counting(0, 12), 999, 998];
    expect(book.take(prompt(part))).toMatchObject({ slot: 1, source: { slot: 0, sessionId: "s0", tokens: 12 } });
    expect(book.kept).toEqual({ slots: 1, tokens: 60, bytes: 60 });
  });

  it("computes the last row of a prompt that is there as a whole, and nothing for a few tokens", () => {
    const book = createBook(2);
    leave(book, counting(0, 20));
    expect(book.findSource(prompt(counting(0, 20)))).toMatchObject({ tokens: 19 });
    expect(book.findSource(prompt([...counting(0, 7), 99, 98]))).toBeNull();
    expect(book.findSource(prompt(counting(0, 20), "b"))).toBeNull();
    expect(book.findSource({ ...prompt(counting(0, 20)), cachePrompt: false })).toBeNull();
  });

  it("takes empty slots first, then what was used longest ago", () => {
    const book = createBook(3);
    for (const from of [0, 100, 200]) leave(book, counting(from, 10));
    expect(book.kept.slots).toBe(3);
    book.findSource(prompt(counting(0, 10)));
    expect(book.take(prompt([7, 7]))?.slot).toBe(1);
    expect(book.kept.slots).toBe(2);
  });

  it("finds what running sessions have computed, and who is about to compute the same", () => {
    const book = createBook(4);
    const running = occupy(book, counting(0, 30), 16);
    const follower = occupy(book, counting(0, 30), 0);
    const wanted = prompt(counting(0, 30));
    const source = book.findSource(wanted);
    expect(source).toMatchObject({ sessionId: running.id, tokens: 16 });
    expect(book.findLeader(prompt(counting(0, 40)), null, follower)).toBe(running);
    expect(book.findLeader(prompt([...counting(0, 5), ...counting(500, 30)]), null, follower)).toBeNull();
    running.answer(30);
    expect(book.findLeader(wanted, null, follower)).toBeNull();
    expect(book.findSource(wanted)).toMatchObject({ sessionId: running.id, tokens: 29 });
  });

  it("counts what came of it, and forgets everything with the stages", () => {
    const book = createBook(2);
    leave(book, counting(0, 20));
    book.count(book.findSource(prompt(counting(0, 30))));
    book.count(null);
    book.countGone();
    expect(book.counts).toEqual({ hits: 1, misses: 1, reusedTokens: 20, gone: 1 });
    book.follow(2);
    expect(book.kept).toEqual({ slots: 0, tokens: 0, bytes: 0 });
  });
});
