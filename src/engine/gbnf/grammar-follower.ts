import type { Grammar } from "../../gbnf/index.ts";
import { type GrammarStep, StackTable } from "./stack-table.ts";
import { canStand, type TextPlace, walkByte } from "./text-walker.ts";
import type { Vocabulary } from "./vocabulary.ts";

/** Work of one look through the vocabulary, in stacks; tokens that come behind count as not fitting. */
const MAX_LOOK_COST = 200_000;

/**
 * Says which tokens may come next in a text that follows a grammar. What it says is a function of the grammar and the
 * tokens so far: nothing else carries over, and texts may be gone back in at will.
 *
 * A text that left the grammar, or stands where no token fits, can only end: then the tokens that end a generation fit,
 * and nothing else.
 */
export class GrammarFollower {
  readonly #table: StackTable;
  readonly #vocabulary: Vocabulary;
  /** Tokens that `#place` stands behind. */
  readonly #tokens: number[] = [];
  /** Undefined behind a token that does not fit. */
  #place: TextPlace | undefined;

  constructor(grammar: Grammar, vocabulary: Vocabulary) {
    this.#table = new StackTable(grammar);
    this.#vocabulary = vocabulary;
    this.#place = this.#begin();
  }

  /** Goes to the end of the tokens from `first` on, from where the last call went to where they go on from there. */
  follow(history: ArrayLike<number>, first: number): void {
    const count = Math.max(0, history.length - first);
    if (this.#tokens.length > count || !this.#tokens.every((token, i) => token === history[first + i])) {
      this.#tokens.length = 0;
      this.#place = this.#begin();
    }
    for (let i = this.#tokens.length; i < count; i++) {
      const token = history[first + i] as number;
      this.#tokens.push(token);
      if (this.#place === undefined || this.#vocabulary.isEnd(token)) continue;
      this.#place = this.#walk(this.#place, token);
    }
    if (this.#place !== undefined) this.#place = { ...this.#place, state: this.#table.trim(this.#place.state) };
  }

  fits(token: number): boolean {
    const place = this.#place;
    if (place === undefined || this.#vocabulary.isEnd(token))
      return this.#vocabulary.isEnd(token) && (place === undefined || this.#mayEnd(place));
    return this.#walk(place, token) !== undefined;
  }

  /** All tokens that fit, ascending; those that end a generation where no other does. */
  listFitting(): readonly number[] {
    const place = this.#place;
    const fitting = place === undefined ? [] : this.#listText(place);
    if (place === undefined || this.#mayEnd(place) || fitting.length === 0) fitting.push(...this.#vocabulary.endTokens);
    return fitting.sort((a, b) => a - b);
  }

  #begin(): TextPlace {
    return { state: this.#table.start(), missing: 0, value: 0, least: 0 };
  }

  #mayEnd(place: TextPlace): boolean {
    return place.missing === 0 && place.state.accepts;
  }

  /** @returns undefined where the token does not fit. */
  #walk(place: TextPlace, token: number): TextPlace | undefined {
    const piece = this.#vocabulary.piece(token);
    let at: TextPlace | null = place;
    for (const byte of piece) {
      at = walkByte(this.#table, at, byte);
      if (at === null) return undefined;
    }
    return piece.length > 0 && canStand(this.#table, at) ? at : undefined;
  }

  /** Walks tokens that begin alike once: those with a beginning that does not fit are passed over. */
  #listText(start: TextPlace): number[] {
    const { order, sharedBytes } = this.#vocabulary;
    const places: TextPlace[] = [start];
    const counted = new Set<GrammarStep>();
    const work = { left: MAX_LOOK_COST };
    const watch = (step: GrammarStep): void => {
      if (counted.has(step)) return;
      counted.add(step);
      work.left -= step.cost;
    };
    const fitting: number[] = [];
    let dead = Number.POSITIVE_INFINITY;
    for (let i = 0; i < order.length && work.left > 0; i++) {
      let depth = sharedBytes[i] as number;
      if (depth >= dead) continue;
      dead = Number.POSITIVE_INFINITY;
      const token = order[i] as number;
      const piece = this.#vocabulary.piece(token);
      for (; depth < piece.length; depth++) {
        const next = walkByte(this.#table, places[depth] as TextPlace, piece[depth] as number, watch);
        if (next === null) {
          dead = depth + 1;
          break;
        }
        places[depth + 1] = next;
      }
      if (dead > piece.length && canStand(this.#table, places[piece.length] as TextPlace)) fitting.push(token);
    }
    return fitting;
  }
}
