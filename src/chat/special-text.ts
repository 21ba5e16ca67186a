import { NoodleError } from "../common/index.ts";
import type { PromptSegment } from "./types.ts";

/** Longer control tokens are no words of a template. */
const MAX_TOKEN_CHARS = 64;
const PRIVATE_FIRST = 0xe000;
const PRIVATE_LAST = 0xf8ff;

interface TokenTree {
  isToken: boolean;
  readonly children: Map<string, TokenTree>;
}

/**
 * Keeps control tokens that come from outside apart from the template's own.
 *
 * In a text from outside, every character that a control token could begin with is replaced by a stand-in from the
 * Unicode private use area before the template is run, so that whatever the template does with the text (trimming,
 * cutting, changing case) no control token can come out of it. Afterwards the characters are put back, and where a
 * control token contains one of them it is cut out as a segment in which special tokens are not parsed.
 *
 * Texts that the template itself looks for (`</think>`) are left as they are, unless a control token begins so.
 */
export class SpecialText {
  readonly #root: TokenTree = { isToken: false, children: new Map() };
  /** Characters that control tokens begin with; letters and digits only where the whole token follows. */
  readonly #firstMarks = new Set<string>();
  readonly #wordTokens: readonly string[];
  /** What is left of a control token without its brackets: a name that, in brackets, would be one. */
  readonly #cores = new Set<string>();
  readonly #lookedFor: readonly string[];

  /** @param literals texts in quotes in the template */
  constructor(controlTokens: Iterable<string>, literals: ReadonlySet<string>) {
    const tokens = [...new Set(controlTokens)].filter(
      (token) => token.trim() !== "" && token.length <= MAX_TOKEN_CHARS,
    );
    for (const token of tokens) {
      let tree = this.#root;
      for (const character of token) {
        const next = tree.children.get(character) ?? { isToken: false, children: new Map<string, TokenTree>() };
        tree.children.set(character, next);
        tree = next;
      }
      tree.isToken = true;
      const first = firstOf(token);
      if (!isWord(first)) this.#firstMarks.add(first);
      const core = token.replace(/^[^\p{L}\p{N}]+|[^\p{L}\p{N}]+$/gu, "");
      if (core !== "" && core !== token && !literals.has(core)) this.#cores.add(core);
    }
    this.#wordTokens = tokens.filter((token) => isWord(firstOf(token)));
    this.#lookedFor = [...literals].filter(
      (literal) =>
        literal.length > 1 &&
        this.#firstMarks.has(firstOf(literal)) &&
        !tokens.some((token) => token.startsWith(literal) || literal.includes(token)),
    );
  }

  /** Stand-ins that occur nowhere in the template or the texts. @throws NoodleError TEMPLATE_FAILED when all occur */
  openMarks(source: string, inputs: unknown): SpecialMarks {
    const used = new Set<number>();
    const visit = (value: unknown): void => {
      if (typeof value === "string") {
        for (let at = 0; at < value.length; at++) {
          const unit = value.charCodeAt(at);
          if (unit >= PRIVATE_FIRST && unit <= PRIVATE_LAST) used.add(unit);
        }
      } else if (typeof value === "object" && value !== null) {
        for (const [key, part] of Object.entries(value)) {
          visit(key);
          visit(part);
        }
      }
    };
    visit(source);
    visit(inputs);
    let next = PRIVATE_FIRST;
    return new SpecialMarks(this, () => {
      while (used.has(next)) next += 1;
      if (next > PRIVATE_LAST)
        throw new NoodleError("TEMPLATE_FAILED", "the messages use all characters of the Unicode private use area");
      return String.fromCharCode(next++);
    });
  }

  /** Places of characters to be replaced. @param alsoLookedFor more texts that stay as they are */
  findMarks(text: string, alsoLookedFor: readonly string[]): number[] {
    const places: number[] = [];
    const lookedFor = [...this.#lookedFor, ...alsoLookedFor];
    for (let at = 0; at < text.length; at++) {
      if (!this.#firstMarks.has(text.charAt(at))) continue;
      if (!lookedFor.some((literal) => text.startsWith(literal, at))) places.push(at);
    }
    if (this.#wordTokens.length === 0) return places;
    const lower = text.toLowerCase();
    for (const token of this.#wordTokens) {
      const word = token.trim().toLowerCase();
      for (let at = lower.indexOf(word); at >= 0; at = lower.indexOf(word, at + 1)) places.push(at);
    }
    return places;
  }

  isCore(text: string): boolean {
    return this.#cores.has(text);
  }

  /** Cuts a text where a control token contains a character from outside. */
  cut(text: string, outside: ReadonlySet<number>): PromptSegment[] {
    const own = new Uint8Array(text.length);
    const foreign: [number, number][] = [];
    for (let start = 0; start < text.length && outside.size > 0; start++) {
      for (const end of this.#tokensAt(text, start)) {
        let isForeign = false;
        for (let at = start; at < end && !isForeign; at++) isForeign = outside.has(at);
        if (isForeign) foreign.push([start, end]);
        else own.fill(1, start, end);
      }
    }
    const plain = new Uint8Array(text.length);
    for (const [start, end] of foreign) for (let at = start; at < end; at++) if (own[at] === 0) plain[at] = 1;
    const segments: PromptSegment[] = [];
    for (let start = 0; start < text.length; ) {
      let end = start + 1;
      while (end < text.length && plain[end] === plain[start]) end += 1;
      segments.push({ text: text.slice(start, end), special: plain[start] === 0 });
      start = end;
    }
    return segments;
  }

  *#tokensAt(text: string, start: number): Generator<number> {
    let tree: TokenTree | undefined = this.#root;
    for (let at = start; at < text.length; ) {
      const character: string = String.fromCodePoint(text.codePointAt(at) ?? 0);
      tree = tree.children.get(character);
      if (tree === undefined) return;
      at += character.length;
      if (tree.isToken) yield at;
    }
  }
}

/** The stand-ins of one prompt. */
export class SpecialMarks {
  readonly #special: SpecialText;
  readonly #choose: () => string;
  readonly #markByCharacter = new Map<string, string>();

  constructor(special: SpecialText, choose: () => string) {
    this.#special = special;
    this.#choose = choose;
  }

  /** @param lookedFor texts that stay as they are here, besides those that the template looks for */
  mark(text: string, lookedFor: readonly string[] = []): string {
    const places = this.#special.findMarks(text, lookedFor);
    if (places.length === 0) return text;
    let marked = "";
    let last = 0;
    for (const place of new Set(places.toSorted((a, b) => a - b))) {
      marked += text.slice(last, place) + this.#markOf(text.charAt(place));
      last = place + 1;
    }
    return marked + text.slice(last);
  }

  /** A name: it could become a control token between brackets of the template. */
  markName(name: string): string {
    return this.#special.isCore(name) ? this.#markOf(name.charAt(0)) + name.slice(1) : this.mark(name);
  }

  /** Puts the characters back. @param isAscii the template may have written the stand-ins as escapes */
  restore(rendered: string, isAscii: boolean): { readonly text: string; readonly segments: PromptSegment[] } {
    if (this.#markByCharacter.size === 0)
      return { text: rendered, segments: rendered === "" ? [] : [{ text: rendered, special: true }] };
    const characters = new Map([...this.#markByCharacter].map(([character, mark]) => [mark, character]));
    const marks = [...characters.keys()].map((mark) => mark.charCodeAt(0).toString(16));
    const escapes = isAscii ? marks.map((hex) => `(?<!\\\\)\\\\u${hex}`) : [];
    const pattern = new RegExp([...marks.map((hex) => `\\u${hex}`), ...escapes].join("|"), "gu");
    const outside = new Set<number>();
    let text = "";
    let last = 0;
    for (const match of rendered.matchAll(pattern)) {
      text += rendered.slice(last, match.index);
      const mark = match[0].length === 1 ? match[0] : String.fromCharCode(Number.parseInt(match[0].slice(2), 16));
      outside.add(text.length);
      text += characters.get(mark) ?? "";
      last = match.index + match[0].length;
    }
    text += rendered.slice(last);
    return { text, segments: this.#special.cut(text, outside) };
  }

  #markOf(character: string): string {
    const mark = this.#markByCharacter.get(character) ?? this.#choose();
    this.#markByCharacter.set(character, mark);
    return mark;
  }
}

function firstOf(token: string): string {
  return token.trim().charAt(0);
}

function isWord(character: string): boolean {
  return /[\p{L}\p{N}]/u.test(character);
}
