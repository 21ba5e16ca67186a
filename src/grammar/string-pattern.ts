import { must } from "../common/index.ts";
import { type CharRanges, failGrammar, GBNF_LIMITS, invertRanges, joinRanges, rangesHold } from "../gbnf/index.ts";
import { quoteRanges, quoteText } from "./grammar-builder.ts";
import { GRAMMAR_LIMITS } from "./limits.ts";

/** A regular expression as the GBNF of the JSON strings that match it, without their quotes. */
export interface PatternGrammar {
  readonly body: string;
  /** Characters of the shortest and the longest match; Infinity for no limit. */
  readonly shortest: number;
  readonly longest: number;
}

type Node = PatternGrammar & {
  /** What joins its parts: alternatives and sequences need parentheses within others. */
  readonly joins: "alternatives" | "sequence" | "one";
};

const DIGITS: CharRanges = [[0x30, 0x39]];
const WORDS: CharRanges = [[0x30, 0x39], [0x41, 0x5a], [0x5f, 0x5f], [0x61, 0x7a]]; // biome-ignore format: one row
const SPACES: CharRanges = joinRanges(
  [0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x20, 0xa0, 0x1680, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000, 0xfeff]
    .map((codePoint): [number, number] => [codePoint, codePoint])
    .concat([[0x2000, 0x200a]]),
);
const LINE_ENDS: CharRanges = [[0x0a, 0x0a], [0x0d, 0x0d], [0x2028, 0x2029]]; // biome-ignore format: one row
/** Control characters, `"`, `\` and halves of surrogate pairs: a JSON string does not hold them as they are. */
const NOT_PLAIN: CharRanges = [[0, 0x1f], [0x22, 0x22], [0x5c, 0x5c], [0xd800, 0xdfff]]; // biome-ignore format: one row
const SHORT_ESCAPES = new Map([[0x08, "b"], [0x09, "t"], [0x0a, "n"], [0x0c, "f"], [0x0d, "r"], [0x22, '"'], [0x5c, "\\"]]); // biome-ignore format: one row
const CONTROL_LETTERS = new Map([["t", 0x09], ["n", 0x0a], ["v", 0x0b], ["f", 0x0c], ["r", 0x0d], ["0", 0]]); // biome-ignore format: one row
const CLASSES = new Map<string, CharRanges>([
  ["d", DIGITS],
  ["w", WORDS],
  ["s", SPACES],
  ["D", invertRanges(DIGITS)],
  ["W", invertRanges(WORDS)],
  ["S", invertRanges(SPACES)],
]);
const NOTHING: Node = { body: '""', shortest: 0, longest: 0, joins: "one" };

/**
 * The regular part of ECMAScript's expressions: characters, classes, groups, alternatives, repetitions. Nothing is ever
 * matched by it here: the grammar is read forwards, so that no expression can be slow.
 *
 * The expression must begin with `^` and end with `$`: without them a schema allows any text around the match.
 *
 * @throws NoodleError GRAMMAR_INVALID with the place for assertions, back references, anchors inside and what is no
 * expression
 */
export function compilePattern(pattern: string, path: string): PatternGrammar {
  return new PatternReader(pattern, path).read();
}

class PatternReader {
  readonly #characters: readonly string[];
  readonly #path: string;
  #at = 0;
  #depth = 0;

  constructor(pattern: string, path: string) {
    this.#characters = Array.from(pattern);
    this.#path = path;
  }

  read(): PatternGrammar {
    if (this.#next() !== "^") this.#fail("a pattern must begin with `^` and end with `$`");
    const node = this.#readAlternatives(true);
    if (this.#peek() === "|") this.#fail("the anchors belong to one alternative only: put a group around all");
    if (this.#next() !== "$" || this.#peek() !== "") this.#fail("a pattern must begin with `^` and end with `$`");
    return node;
  }

  #readAlternatives(isOutermost = false): Node {
    const nodes = [this.#readSequence()];
    // Alternatives of the whole would have an anchor each.
    if (!isOutermost) {
      while (this.#peek() === "|") {
        this.#at += 1;
        nodes.push(this.#readSequence());
      }
    }
    const [only] = nodes;
    if (only !== undefined && nodes.length === 1) return only;
    return {
      body: nodes.map((node) => node.body).join(" | "),
      shortest: Math.min(...nodes.map((node) => node.shortest)),
      longest: Math.max(...nodes.map((node) => node.longest)),
      joins: "alternatives",
    };
  }

  #readSequence(): Node {
    const nodes: Node[] = [];
    while (!["", "|", ")", "$"].includes(this.#peek())) nodes.push(this.#repeat(this.#readItem()));
    const [only] = nodes;
    if (only === undefined) return NOTHING;
    if (nodes.length === 1) return only;
    return {
      body: nodes.map((node) => (node.joins === "alternatives" ? `(${node.body})` : node.body)).join(" "),
      shortest: nodes.reduce((total, node) => total + node.shortest, 0),
      longest: nodes.reduce((total, node) => total + node.longest, 0),
      joins: "sequence",
    };
  }

  #readItem(): Node {
    const character = this.#next();
    if (character === "(") return this.#readGroup();
    if (character === "[") return this.#readClass();
    if (character === ".") return this.#one(invertRanges(LINE_ENDS));
    if (character === "\\") return this.#one(this.#readEscape());
    if (character === "^") this.#fail("an anchor inside");
    if ("*+?{}]".includes(character)) this.#fail(`\`${character}\` stands alone`);
    return this.#one(pointOf(character));
  }

  #readGroup(): Node {
    this.#depth += 1;
    if (this.#depth > GRAMMAR_LIMITS.depth) this.#fail(`more than ${GRAMMAR_LIMITS.depth} groups within one another`);
    if (this.#peek() === "?") {
      const rest = this.#characters.slice(this.#at, this.#at + 80).join("");
      const opening = /^\?(?::|<[A-Za-z_]\w*>)/.exec(rest)?.[0];
      if (opening === undefined) this.#fail("assertions and flags can't be followed");
      this.#at += opening.length;
    }
    const node = this.#readAlternatives();
    if (this.#next() !== ")") this.#fail("expected `)`");
    this.#depth -= 1;
    return node;
  }

  #repeat(node: Node): Node {
    const counts = this.#readCounts();
    if (counts === undefined) return node;
    if (this.#peek() === "?") this.#at += 1;
    if (this.#readCounts() !== undefined) this.#fail("a repetition of a repetition");
    const { min, max } = counts;
    if (max === 0) return NOTHING;
    const inner = node.joins === "one" ? node.body : `(${node.body})`;
    const suffix = max === Infinity ? (min === 0 ? "*" : min === 1 ? "+" : `{${min},}`) : `{${min},${max}}`;
    return {
      body: min === 1 && max === 1 ? inner : `${inner}${suffix}`,
      shortest: node.shortest * min,
      longest: node.longest === 0 ? 0 : node.longest * max,
      joins: min === 1 && max === 1 ? "one" : "sequence",
    };
  }

  #readCounts(): { min: number; max: number } | undefined {
    const character = this.#peek();
    if (character === "*" || character === "+" || character === "?") {
      this.#at += 1;
      return { min: character === "+" ? 1 : 0, max: character === "?" ? 1 : Infinity };
    }
    if (character !== "{") return undefined;
    const text = /^\{([0-9]{1,9})(,([0-9]{0,9}))?\}/.exec(this.#characters.slice(this.#at, this.#at + 22).join(""));
    if (text === null) this.#fail("expected a count such as {2} or {2,5}");
    this.#at += text[0].length;
    const min = Number(text[1]);
    const max = text[2] === undefined ? min : text[3] === "" ? Infinity : Number(text[3]);
    if (max < min) this.#fail("the first count is the larger one");
    if (min > GBNF_LIMITS.repetition || (max !== Infinity && max > GBNF_LIMITS.repetition))
      this.#fail(`the limit is ${GBNF_LIMITS.repetition} repetitions`);
    return { min, max };
  }

  #readClass(): Node {
    const isInverted = this.#peek() === "^";
    if (isInverted) this.#at += 1;
    const ranges: (readonly [number, number])[] = [];
    while (this.#peek() !== "]") {
      const first = this.#readClassItem();
      if (this.#peek() === "-" && (this.#characters[this.#at + 1] ?? "]") !== "]") {
        this.#at += 1;
        const last = this.#readClassItem();
        const [from, to] = [first[0], last[0]];
        if (first.length !== 1 || last.length !== 1 || from === undefined || to === undefined || from[0] > to[0])
          this.#fail("this is no range");
        ranges.push([from[0], to[0]]);
      } else ranges.push(...first);
    }
    this.#at += 1;
    const joined = joinRanges(ranges);
    return this.#one(isInverted ? invertRanges(joined) : joined);
  }

  #readClassItem(): CharRanges {
    const character = this.#next();
    if (character === "") this.#fail("expected `]`");
    if (character !== "\\") return pointOf(character);
    if (this.#peek() !== "b") return this.#readEscape();
    this.#at += 1;
    return [[0x08, 0x08]];
  }

  #readEscape(): CharRanges {
    const letter = this.#next();
    const known = CLASSES.get(letter);
    if (known !== undefined) return known;
    const control = CONTROL_LETTERS.get(letter);
    if (control !== undefined && !(letter === "0" && /[0-9]/.test(this.#peek()))) return [[control, control]];
    const rest = this.#characters.slice(this.#at, this.#at + 8).join("");
    const hex =
      letter === "x"
        ? /^([0-9a-fA-F]{2})/.exec(rest)
        : letter === "u"
          ? /^(?:([0-9a-fA-F]{4})|\{([0-9a-fA-F]{1,6})\})/.exec(rest)
          : null;
    if (hex !== null) {
      this.#at += hex[0].length;
      const codePoint = Number.parseInt(hex[1] ?? hex[2] ?? "", 16);
      if (codePoint > 0x10ffff) this.#fail("this is no character");
      return [[codePoint, codePoint]];
    }
    if (letter === "" || /[A-Za-z0-9]/.test(letter)) this.#fail(`\`\\${letter}\` can't be followed`);
    return pointOf(letter);
  }

  /**
   * One character of the set, as a JSON string holds it. Control characters without a short escape are left out of
   * larger sets: no text needs them.
   */
  #one(ranges: CharRanges): Node {
    const plain = invertRanges(joinRanges([...invertRanges(ranges), ...NOT_PLAIN]));
    const letters = [...SHORT_ESCAPES]
      .filter(([codePoint]) => rangesHold(ranges, codePoint))
      .map(([, letter]) => letter);
    const alternatives: string[] = [];
    if (plain.length > 0) alternatives.push(quoteRanges(plain));
    if (letters.length > 0)
      alternatives.push(
        `"\\\\" ${quoteRanges(joinRanges(letters.map((letter) => must(pointOf(letter)[0], "letter"))))}`,
      );
    const [first] = ranges;
    if (alternatives.length === 0 && first !== undefined && first[0] <= 0x1f)
      alternatives.push(quoteText(`\\u${first[0].toString(16).padStart(4, "0")}`));
    if (alternatives.length === 0) this.#fail("no character fits");
    const isOne = alternatives.length === 1 && letters.length === 0;
    return { body: alternatives.join(" | "), shortest: 1, longest: 1, joins: isOne ? "one" : "alternatives" };
  }

  #peek(): string {
    return this.#characters[this.#at] ?? "";
  }

  #next(): string {
    const character = this.#peek();
    this.#at += 1;
    return character;
  }

  #fail(what: string): never {
    return failGrammar(`${this.#path}: character ${this.#at}: ${what}`, { path: this.#path, character: this.#at });
  }
}

function pointOf(character: string): CharRanges {
  const codePoint = character.codePointAt(0) ?? 0;
  return [[codePoint, codePoint]];
}
