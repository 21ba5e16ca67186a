import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { NoodleError } from "../common/index.ts";
import { checkGrammar, JSON_GRAMMAR } from "./index.ts";
import { fitsGrammar } from "./testing.ts";

/** The message of the refusal; undefined when the grammar is taken. */
function refusalOf(gbnf: string): string | undefined {
  try {
    checkGrammar(gbnf);
    return undefined;
  } catch (error) {
    expect(error).toBeInstanceOf(NoodleError);
    expect((error as NoodleError).code).toBe("GRAMMAR_INVALID");
    return (error as NoodleError).message;
  }
}

const SPACE = "space ::= [ \\t\\n]*";

describe("a grammar in GBNF", () => {
  it("is read as the engine reads it", () => {
    const gbnf = [
      "# a comment",
      'root ::= greeting ", " name-1 ("!" | "?"){1,2} # behind it',
      'greeting ::= "Hello" |',
      '  "Good " ("day"',
      '    | "night")',
      "name-1 ::= [A-Z] [^A-Z\\x00-\\x1f\\u00e4-\\u00fc, !?]{2,} .?",
    ].join("\n");
    expect(refusalOf(gbnf)).toBeUndefined();
    for (const text of ["Hello, Bob!", "Good day, Ann!?", "Good night, Zo-x??"])
      expect([text, fitsGrammar(gbnf, text)]).toEqual([text, true]);
    for (const text of ["Hello Bob!", "Good , Ann!", "Hello, Bob", "Hello, bob!", "Hello, Bob!!!!", "Hello, Böb!"])
      expect([text, fitsGrammar(gbnf, text)]).toEqual([text, false]);
  });

  it.each([
    ['root ::= "a"\nroot ::= "b"', "line 2, column 1"],
    ['root ::= "a', "line 1, column 10"],
    ['root ::= "a"\n  foo', "line 2, column"],
    ["root ::= [a", "line 1, column 10"],
    ["root ::= []", "line 1, column 10"],
    ["root ::= [z-a]", "line 1, column"],
    ['root ::= ("a"', "line 1, column"],
    ['root ::= "a")', "line 1, column 13"],
    ['root ::= "\\q"', "line 1, column 11"],
    ['root ::= "\\u12"', "line 1, column"],
    ['root ::= "\\ud800"', "line 1, column 11"],
    ['root ::= "\\U00110000"', "line 1, column 11"],
    ['root ::= "\\x00"', "line 1, column 11"],
    ['root ::= "a\0"', "line 1, column 12"],
    ["root ::= *", "line 1, column 10"],
    ['root ::= ""*', "line 1, column 12"],
    ['root ::= "a"{3,2}', "line 1, column"],
    ['root ::= "a"{2001}', "line 1, column"],
    ['root ::= "a"{99999999999999999999}', "line 1, column"],
    ['root ::= "a"{x}', "line 1, column"],
    ['root ::= ("a" | "b" | ("c")){1500}', "line 1, column"],
    ["root ::= other", "line 1, column 10"],
    ["root ::= <[5]>", "line 1, column 10"],
    ['root = "a"', "line 1, column 6"],
    ['other ::= "a"', "root"],
    ["", "root"],
    [`root ::= ${"(".repeat(70)}"a"${")".repeat(70)}`, "64"],
    [`root ::= "${"a".repeat(70_000)}"`, "65536"],
    [`root ::= ${'"abcdefghij"{2000} '.repeat(12)}`, "100000"],
  ])("refuses %j with its place", (gbnf, place) => {
    expect(refusalOf(gbnf)).toContain(place);
  });

  it.each([
    ['root ::= root "a" | "b"'],
    ['root ::= list\nlist ::= empty list "x" | "y"\nempty ::= nothing\nnothing ::= "z" |'],
    ['root ::= a\na ::= b "x" | "y"\nb ::= c\nc ::= a'],
    ["root ::= ([a-z]*)*"],
    ['root ::= ("a"?)+'],
  ])("refuses the left recursion of %j", (gbnf) => {
    expect(refusalOf(gbnf)).toContain("itself");
  });

  it("refuses rules that never come to an end", () => {
    expect(refusalOf('root ::= "a" root')).toContain("end");
  });

  it.each([
    ["two ways down", 'root ::= "a" root "b" | "a" root "c" | "d"'],
    ["two ways down through a rule", 'root ::= x "b" | x "c" | "d"\nx ::= "a" root'],
    [
      "forks within forks",
      `root ::= a0\n${Array.from({ length: 12 }, (_, i) => `a${i} ::= "(" a${i + 1} "b" | "(" a${i + 1} "c"`).join("\n")}\na12 ::= "x"`,
    ],
    [
      "many ways to begin",
      `root ::= a0\n${Array.from({ length: 40 }, (_, i) => `a${i} ::= a${i + 1} "b" | a${i + 1} "c"`).join("\n")}\na40 ::= "x"`,
    ],
    ["two branches that part late", 'root ::= a | b | "."\na ::= "x" root "1"\nb ::= [a-z] root "2"'],
  ])("refuses ambiguity that grows with the text: %s", (_, gbnf) => {
    expect(refusalOf(gbnf)).toBeDefined();
  });

  it.each([
    ["JSON", JSON_GRAMMAR],
    [
      "moves of chess",
      'root ::= "1. " move " " move "\\n" ([1-9] [0-9]? ". " move " " move "\\n")+\nmove ::= (pawn | piece | "O-O" "-O"?) [+#]?\npiece ::= [NBKQR] [a-h]? [1-8]? "x"? [a-h] [1-8]\npawn ::= ([a-h] "x")? [a-h] [1-8] ("=" [NBKQR])?',
    ],
    [
      "arithmetic",
      `root ::= (sum "=" space term "\\n")+\nsum ::= term ([-+*/] term)*\nterm ::= name | number | "(" space sum ")" space\nname ::= [a-z] [a-z0-9_]* space\nnumber ::= [0-9]+ space\n${SPACE}`,
    ],
    ["a list of lines", 'root ::= item+\nitem ::= "- " [^\\r\\n]+ "\\n"'],
    ["a digit that is a number in two ways", 'root ::= "[" n ("," n)* "]"\nn ::= [0-9] | [1-9] [0-9]{0,15}'],
    ["a round in two ways that meet", 'root ::= ("a" | "a")*'],
    ["a repetition in a repetition", 'root ::= ("a"+)+'],
    ["space and space and space", 'root ::= "(" root space | a space "x" space\na ::= " "*\nspace ::= " "*'],
    [
      "rules of rules",
      `root ::= a0\n${Array.from({ length: 400 }, (_, i) => `a${i} ::= a${i + 1}`).join("\n")}\na400 ::= "x"`,
    ],
    ["a long repetition", "root ::= [a-z]{0,2000}"],
    ["words that begin alike", 'root ::= word (" " word)*\nword ::= "cat" | "cart" | "car" | "dog" | "do"'],
    [
      "branches that part within a shared rule",
      'root ::= "[" (a | b)* "]"\na ::= "(" text "1)"\nb ::= "(" text "2)"\ntext ::= "\'" [a-z]* "\'"',
    ],
  ])("takes what is read in few ways: %s", (_, gbnf) => {
    expect(refusalOf(gbnf)).toBeUndefined();
  });

  it("survives any text", () => {
    const words = [
      "root",
      "::=",
      "a",
      "b",
      '"x"',
      "[a-z]",
      "(",
      ")",
      "|",
      "*",
      "+",
      "?",
      "{2}",
      "{0,3}",
      "\n",
      " ",
      "#",
      ".",
      '"',
      "[",
      "^",
    ];
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...words), { maxLength: 25 }), (parts) => {
        expect(typeof refusalOf(`root ::= ${parts.join(" ")}\na ::= "y" b | "n"\nb ::= "z"`)).toMatch(
          /string|undefined/,
        );
      }),
      { seed: 2, numRuns: 1500 },
    );
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 60 }), (text) => {
        expect(refusalOf(text)).toBeDefined();
      }),
      { seed: 4, numRuns: 300 },
    );
  });
});
