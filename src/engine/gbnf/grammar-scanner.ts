import { NoodleError } from "../../common/index.ts";

const NAME = /[A-Za-z0-9-]+/y;
const NUMBER = /[0-9]+/y;
const HEX_DIGITS: Readonly<Record<string, number>> = { x: 2, u: 4, U: 8 };
const ESCAPES: Readonly<Record<string, string>> = {
  t: "\t",
  r: "\r",
  n: "\n",
  "\\": "\\",
  '"': '"',
  "[": "[",
  "]": "]",
  "-": "-",
};

/** Walks through the text of a grammar. */
export class GrammarScanner {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  /** The next character; empty at the end. */
  get next(): string {
    return this.#text[this.#at] ?? "";
  }

  sees(expected: string): boolean {
    return this.#text.startsWith(expected, this.#at);
  }

  take(expected: string): boolean {
    if (!this.sees(expected)) return false;
    this.#at += expected.length;
    return true;
  }

  expect(expected: string): void {
    if (!this.take(expected)) throw this.fail(`expected "${expected}"`);
  }

  /** Skips blanks and comments, and ends of lines where a rule may go on behind them. */
  skipSpace(acrossLines: boolean): void {
    const space = acrossLines ? /(?:[ \t\r\n]|#[^\r\n]*)*/y : /(?:[ \t]|#[^\r\n]*)*/y;
    this.#match(space);
  }

  /** @returns the name or number here, or undefined. */
  name(): string | undefined {
    return this.#match(NAME);
  }

  number(): number | undefined {
    const digits = this.#match(NUMBER);
    return digits === undefined ? undefined : Number(digits);
  }

  /** One code point of a literal or of a set, an escape resolved. */
  codePoint(): number {
    const point = this.#text.codePointAt(this.#at);
    if (point === undefined) throw this.fail("the text ends inside a literal or a set");
    if (this.next !== "\\") {
      this.#at += point > 0xffff ? 2 : 1;
      return point;
    }
    const letter = this.#text[this.#at + 1] ?? "";
    const escaped = Object.hasOwn(ESCAPES, letter) ? ESCAPES[letter] : undefined;
    if (escaped !== undefined) {
      this.#at += 2;
      return escaped.charCodeAt(0);
    }
    const digits = Object.hasOwn(HEX_DIGITS, letter) ? (HEX_DIGITS[letter] ?? 0) : 0;
    const hex = this.#text.slice(this.#at + 2, this.#at + 2 + digits);
    if (digits === 0 || hex.length < digits || !/^[0-9A-Fa-f]+$/.test(hex)) throw this.fail("unknown escape");
    this.#at += 2 + digits;
    return Number.parseInt(hex, 16);
  }

  fail(problem: string): NoodleError {
    const before = this.#text.slice(0, this.#at).split("\n");
    const place = `line ${before.length}, column ${(before.at(-1)?.length ?? 0) + 1}`;
    return new NoodleError("GRAMMAR_INVALID", `grammar, ${place}: ${problem}`);
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0];
    this.#at += found?.length ?? 0;
    return found;
  }
}
