import { describe, expect, it } from "vitest";
import { GrammarFollower } from "./grammar-follower.ts";
import { parseGrammar } from "../../gbnf/index.ts";
import { Vocabulary } from "./vocabulary.ts";

const BYTES = Array.from({ length: 256 }, (_, byte) => Uint8Array.of(byte));
const WORDS = ["true", "tru", "fal", "false", '{"', '":', "éa", "中文", "ab", "aba", "aab", "    ", "a".repeat(16)];
const END = BYTES.length + WORDS.length;
/** All bytes, some words, and a token that ends the text. */
const vocabulary = new Vocabulary([...BYTES, ...WORDS.map((word) => Buffer.from(word)), new Uint8Array()], [END]);

const wordOf = (text: string): number => BYTES.length + WORDS.indexOf(text);
const follow = (grammar: string, ...tokens: number[]): GrammarFollower => {
  const follower = new GrammarFollower(parseGrammar(grammar), vocabulary);
  follower.follow(tokens, 0);
  return follower;
};
const bytesOf = (text: string): number[] => [...Buffer.from(text)];
/** Tokens that fit, as text; the end is "$". */
const fitting = (follower: GrammarFollower): string[] =>
  follower.listFitting().map((id) => (id === END ? "$" : Buffer.from(vocabulary.piece(id)).toString("latin1")));

describe("GrammarFollower", () => {
  it("says what may come next, and when the text may end", () => {
    const grammar = 'root ::= ("true" | "fals" "e") [.!]?';
    expect(fitting(follow(grammar))).toEqual(["f", "t", "true", "tru", "fal", "false"]);
    expect(fitting(follow(grammar, wordOf("tru")))).toEqual(["e"]);
    expect(fitting(follow(grammar, wordOf("tru"), ...bytesOf("e")))).toEqual(["!", ".", "$"]);
    expect(fitting(follow(grammar, wordOf("true"), ...bytesOf("!")))).toEqual(["$"]);
  });

  it("follows rules into themselves and back", () => {
    const grammar = 'root ::= "a" root "b" | "ab"';
    expect(fitting(follow(grammar, ...bytesOf("aa")))).toEqual(["a", "b", "ab", "aab", "a".repeat(16)]);
    expect(fitting(follow(grammar, ...bytesOf("aaa")))).toEqual(["a", "b", "ab", "aab", "a".repeat(16)]);
    expect(fitting(follow(grammar, ...bytesOf("aaabb")))).toEqual(["b"]);
    expect(fitting(follow(grammar, ...bytesOf("aaabbb")))).toEqual(["$"]);
  });

  it("reads characters of several bytes, whole or in parts, and no others", () => {
    const grammar = "root ::= [é-ü中]{2} [^a-z]";
    expect(follow(grammar).fits(wordOf("中文"))).toBe(false);
    expect(fitting(follow(grammar))).toEqual(["\xc3", "\xe4"]);
    expect(follow(grammar, 0xc3).fits(0xa9)).toBe(true);
    expect(follow(grammar, 0xc3).fits(0x80)).toBe(false);
    expect(follow(grammar, 0xc3).fits(END)).toBe(false);
    const last = follow(grammar, ...bytesOf("é中"));
    expect([0xc0, 0xf5, 0xff, 0x80, 0x61].map((byte) => last.fits(byte))).toEqual([false, false, false, false, false]);
    expect([0xe0, 0xf4, 0x20].map((byte) => last.fits(byte))).toEqual([true, true, true]);
    // Longer than need be, and half of a pair.
    expect(follow(grammar, ...bytesOf("é中"), 0xe0, 0x80).fits(0x80)).toBe(false);
    expect(follow(grammar, ...bytesOf("é中"), 0xed, 0xa0).fits(0x80)).toBe(false);
    expect(fitting(follow(grammar, ...bytesOf("é中ß")))).toEqual(["$"]);
  });

  it("is a function of the tokens: it may go back, and on another way", () => {
    const grammar = 'root ::= ("ab" | "aba" | "b")+ "."';
    const follower = follow(grammar);
    for (const text of ["ab", "aba", "abab", "ab", "b", "bbaba", "", "abaab"]) {
      const tokens = bytesOf(text);
      follower.follow([7, 7, ...tokens], 2);
      expect(follower.listFitting()).toEqual(follow(grammar, ...tokens).listFitting());
    }
  });

  it("lets a text that stands where nothing fits, or has left the grammar, only end", () => {
    const lost = follow('root ::= "a" "b"', ...bytesOf("ax"));
    expect([fitting(lost), lost.fits(END), lost.fits(0x62)]).toEqual([["$"], true, false]);
    const pieces = [Buffer.from("a"), new Uint8Array()];
    const stuck = new GrammarFollower(parseGrammar('root ::= "az"'), new Vocabulary(pieces, [1]));
    stuck.follow([0], 0);
    expect(stuck.listFitting()).toEqual([1]);
    expect(fitting(follow('root ::= "a"', ...bytesOf("a"), END, END))).toEqual(["$"]);
    expect(fitting(follow('root ::= ""'))).toEqual(["$"]);
  });

  it("agrees with itself on each token", () => {
    const grammar =
      'root ::= "{" pair ("," pair)* "}"\npair ::= "\\"" [^"\\\\]* "\\":" ("true" | "false" | root | [0-9]+ | " "*)';
    for (const tokens of [[], [wordOf('{"')], [wordOf('{"'), wordOf("中文"), wordOf('":')], bytesOf('{"a":{"b":1')]) {
      const follower = follow(grammar, ...tokens);
      const listed = new Set(follower.listFitting());
      for (let id = 0; id <= END; id++) expect(follower.fits(id)).toBe(listed.has(id));
      expect(listed.size).toBeGreaterThan(0);
    }
  });

  it("stays within bounds, and inside the grammar, where every character doubles the ways", () => {
    const follower = follow('root ::= "a" root "b" | "a" root "c" | "a"');
    const tokens: number[] = [];
    for (let i = 0; i < 20; i++) {
      tokens.push(wordOf("a".repeat(16)));
      follower.follow(tokens, 0);
    }
    for (let i = 0; i < 30; i++) {
      const [next] = follower.listFitting().filter((id) => id !== END && id !== 0x61);
      expect([0x62, 0x63]).toContain(next);
      tokens.push(next ?? END);
      follower.follow(tokens, 0);
    }
  });

  it("says the same when it had to forget what it remembered", () => {
    const grammar = 'root ::= ("a" root "b" | "a" root "c" | "ab" | .)+';
    const tokens = bytesOf("aaaabacabbbaaaacabbaaaaaaaaaaaabbcbbcbcaaaaaaaaaaaa");
    const patient = follow(grammar);
    for (let end = 0; end <= tokens.length; end++) {
      patient.follow(tokens.slice(0, end), 0);
      patient.listFitting();
    }
    expect(patient.listFitting()).toEqual(follow(grammar, ...tokens).listFitting());
  });
});
