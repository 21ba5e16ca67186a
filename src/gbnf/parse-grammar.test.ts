import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { NoodleError } from "../common/index.ts";
import { GBNF_LIMITS, parseGrammar } from "./index.ts";

function codeOf(text: string): string {
  try {
    parseGrammar(text);
    return "ok";
  } catch (error) {
    if (error instanceof NoodleError) return error.code;
    throw error;
  }
}

describe("parseGrammar", () => {
  it("takes every form that GBNF has", () => {
    for (const text of [
      'root ::= "yes" | "no"',
      'root ::= [a-z]+ "." # comment\n\n# another\n',
      "root ::= x{2} x{2,} x{2,3} x* x+ x?\nx ::= .",
      'root ::= ( "a" |\n  "b" # inside a group\n )*\r\nrest ::= [^\\]\\\\\\x41\\u00e9\\U0001F35C-]',
      'root ::= | "a" root "b"',
      'root ::= "" [-a] [a-] ["]',
    ])
      expect(codeOf(text)).toBe("ok");
  });

  it.each([
    ["nothing", ""],
    ["no root", 'x ::= "a"'],
    ["an undefined rule", "root ::= missing"],
    ["a rule twice", 'root ::= "a"\nroot ::= "b"'],
    ["a rule that begins with itself", 'root ::= root "a" | "b"'],
    ["one that does behind something empty", 'root ::= x root "a" | "b"\nx ::= y\ny ::= ""'],
    ["a repetition of what may be empty", 'root ::= ("a"*)*'],
    ["text that can never end", 'root ::= "a" root'],
    ["two rules that can never end", 'root ::= "a" x\nx ::= "b" root | "c" x'],
    ["an open literal", 'root ::= "a'],
    ["an open set", "root ::= [a"],
    ["an empty set", "root ::= []"],
    ["a range backwards", "root ::= [b-a]"],
    ["an unknown escape", 'root ::= "\\q"'],
    ["a short escape", 'root ::= "\\u12"'],
    ["an inherited name as an escape", 'root ::= "\\constructor"'],
    ["an open group", 'root ::= ("a"'],
    ["a repetition of nothing", 'root ::= * "a"'],
    ["a repetition without a number", 'root ::= "a"{,3}'],
    ["a repetition backwards", 'root ::= "a"{3,2}'],
    ["two rules on a line", 'root ::= "a" ::= "b"'],
    ["a single token", "root ::= <[12]>"],
    ["anything else", "root ::= $"],
  ])("refuses %s", (_, text) => {
    expect(codeOf(text)).toBe("GRAMMAR_INVALID");
  });

  it("bounds what a short text can ask for", () => {
    expect(codeOf(`root ::= ${"(".repeat(GBNF_LIMITS.groupDepth)}"a"${")".repeat(GBNF_LIMITS.groupDepth)}`)).toBe("ok");
    for (const text of [
      `root ::= ${"(".repeat(200_000)}`,
      'root ::= "a"{1,99999999999}',
      'root ::= "a"{99999999999999999999999}',
      'root ::= "a"{100}{100}{100}',
      `root ::= "${"x".repeat(GBNF_LIMITS.chars)}"`,
      `root ::= "a" ${"|".repeat(GBNF_LIMITS.elements)}`,
    ])
      expect(codeOf(text)).toBe("GRAMMAR_INVALID");
    // Rules that refer to their successors many times: whoever follows each reference by itself never comes to an end.
    const fan = Array.from({ length: 200 }, (_, i) => `a${i} ::= a${i + 1} a${i + 1} | a${i + 1}`);
    expect(codeOf(["root ::= a0", ...fan, 'a200 ::= "x" | ""'].join("\n"))).toBe("ok");
    expect(codeOf(["root ::= a0", ...fan, "a200 ::= a0"].join("\n"))).toBe("GRAMMAR_INVALID");
  });

  it("answers every text with a typed error or with nothing", () => {
    const pieces = [
      "root",
      "::=",
      " ",
      "\n",
      '"a"',
      "[a-z]",
      "(",
      ")",
      "|",
      "*",
      "{1,2}",
      "x",
      "\\",
      "#",
      "\ud800",
      "",
    ];
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.constantFrom(...pieces), fc.string({ maxLength: 3 })), { maxLength: 30 }),
        (parts) => {
          expect(["ok", "GRAMMAR_INVALID"]).toContain(codeOf(parts.join("")));
          expect(["ok", "GRAMMAR_INVALID"]).toContain(codeOf(`root ::= ${parts.join("")}`));
        },
      ),
      { seed: 5, numRuns: 500 },
    );
  });
});
