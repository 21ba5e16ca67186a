import { failGrammar } from "./grammar.ts";
import { GBNF_LIMITS } from "./limits.ts";

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
const HEX_DIGITS: Readonly<Record<string, number>> = { x: 2, u: 4, U: 8 };

/** Walks through the text of a grammar. */
export class GbnfScanner {
  readonly #source: string;
  #at = 0;

  constructor(source: string) {
    this.#source = source;
    const nul = source.indexOf("\0");
    if (nul >= 0) this.fail("the text holds a NUL character", nul);
  }

  /** Where it stands, as an offset. */
  get at(): number {
    return this.#at;
  }

  get atEnd(): boolean {
    return this.#at >= this.#source.length;
  }

  /** Empty at the end. */
  get next(): string {
    return this.#source[this.#at] ?? "";
  }

  sees(text: string): boolean {
    return this.#source.startsWith(text, this.#at);
  }

  take(text: string): boolean {
    if (!this.sees(text)) return false;
    this.#at += text.length;
    return true;
  }

  /** Skips blanks and comments, and ends of lines where a rule may go on behind them. */
  skipSpace(newlines: boolean): void {
    for (;;) {
      const character = this.next;
      if (character === "#") {
        while (!this.atEnd && this.next !== "\n" && this.next !== "\r") this.#at += 1;
      } else if (character === " " || character === "\t" || (newlines && (character === "\n" || character === "\r"))) {
        this.#at += 1;
      } else return;
    }
  }

  readName(): string {
    const start = this.#at;
    while (isNameCharacter(this.next)) this.#at += 1;
    if (this.#at === start) this.fail("expected the name of a rule");
    return this.#source.slice(start, this.#at);
  }

  /** One code point of a literal or of a class, an escape resolved. */
  readCharacter(inClass = false): number {
    const start = this.#at;
    let codePoint = this.#source.codePointAt(this.#at) ?? 0;
    if (codePoint !== 0x5c) {
      this.#at += codePoint > 0xffff ? 2 : 1;
    } else {
      const letter = this.#source[this.#at + 1] ?? "";
      const digits = HEX_DIGITS[letter];
      if (digits === undefined) {
        const character = ESCAPES[letter];
        if (character === undefined) this.fail(`\`\\${letter}\` is no escape`);
        this.#at += 2;
        return character.charCodeAt(0);
      }
      const hex = this.#source.slice(this.#at + 2, this.#at + 2 + digits);
      if (hex.length < digits || /[^0-9a-fA-F]/.test(hex)) this.fail(`expected ${digits} hexadecimal digits`);
      this.#at += 2 + digits;
      codePoint = Number.parseInt(hex, 16);
    }
    if ((codePoint === 0 && !inClass) || codePoint > 0x10ffff || (codePoint >= 0xd800 && codePoint <= 0xdfff))
      this.fail("this is no character that a model can write", start);
    return codePoint;
  }

  readCount(): number {
    const digits = /^[0-9]+/.exec(this.#source.slice(this.#at, this.#at + 12))?.[0];
    if (digits === undefined) this.fail("expected a count");
    if (Number(digits) > GBNF_LIMITS.repetition)
      this.fail(`${digits} repetitions, the limit is ${GBNF_LIMITS.repetition}`);
    this.#at += digits.length;
    return Number(digits);
  }

  /** @param at what is wrong, as an offset @throws GRAMMAR_INVALID with line and column */
  fail(what: string, at: number = this.#at): never {
    const before = this.#source.slice(0, at).split("\n");
    const line = before.length;
    const column = (before.at(-1)?.length ?? 0) + 1;
    return failGrammar(`line ${line}, column ${column}: ${what}`, { line, column });
  }
}

/** Whether a rule's name may have it. */
export function isNameCharacter(character: string): boolean {
  return /^[a-zA-Z0-9-]$/.test(character);
}
