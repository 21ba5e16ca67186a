import { type Grammar, rangesHold } from "../../gbnf/index.ts";

/** What remains to be matched: the element at `at`, and then what lies below. */
export interface StackNode {
  readonly id: number;
  readonly at: number;
  readonly below: StackNode | null;
}

/** Where a text may stand in a grammar: all stacks whose top is a character, and whether the text may end here. */
export interface GrammarState {
  readonly tops: readonly StackNode[];
  readonly accepts: boolean;
  /** By code point. */
  readonly steps: Map<number, GrammarStep>;
}

export interface GrammarStep {
  /** Null where the character does not fit. */
  readonly state: GrammarState | null;
  /** Work that it takes to find out, in stacks; remembered steps cost as much. */
  readonly cost: number;
}

/**
 * Stacks beyond this many are left out. An ambiguous grammar has more of them with every character; what is left of it
 * still describes nothing but its texts.
 */
const MAX_STACKS = 1024;
/** Stacks that one step makes. */
const MAX_STEP_COST = 4096;
/** Stacks that are compared with a character in the time that it takes to make one. */
const COMPARED_PER_COST = 16;
/** Nodes and states, beyond which the table is started over. */
const MAX_TABLE_SIZE = 100_000;

const NO_STATE: GrammarStep = { state: null, cost: 1 };

/** The stacks and states of a grammar, each made once, so that equal ones are the same object and steps are remembered. */
export class StackTable {
  readonly #grammar: Grammar;
  readonly #nodes = new Map<number, StackNode>();
  readonly #states = new Map<string, GrammarState>();
  #nextId = 1;
  #size = 0;

  constructor(grammar: Grammar) {
    this.#grammar = grammar;
  }

  start(): GrammarState {
    const { rules, root } = this.#grammar;
    return this.#close((rules[root]?.starts ?? []).map((start) => this.#enter(start, null))).state as GrammarState;
  }

  /** Where the text stands with one more character. */
  step(state: GrammarState, codePoint: number): GrammarStep {
    let step = state.steps.get(codePoint);
    if (step === undefined) {
      step = this.#makeStep(state, codePoint);
      state.steps.set(codePoint, step);
      this.#size += 1;
    }
    return step;
  }

  /** @returns whether a character from `first` to `last` fits. */
  fitsRange(state: GrammarState, first: number, last: number): boolean {
    return state.tops.some(({ at }) => this.#matches(at, first, last));
  }

  /** Forgets everything but `state` when too much was remembered. @returns the same state, of the new table. */
  trim(state: GrammarState): GrammarState {
    if (this.#size < MAX_TABLE_SIZE) return state;
    for (const each of this.#states.values()) each.steps.clear();
    this.#nodes.clear();
    this.#states.clear();
    this.#size = 0;
    const renewed = new Map<StackNode, StackNode>();
    const tops = state.tops.map((top) => {
      const chain: StackNode[] = [];
      for (let node: StackNode | null = top; node !== null && !renewed.has(node); node = node.below) chain.push(node);
      for (const node of chain.reverse()) {
        const below = node.below === null ? null : (renewed.get(node.below) ?? null);
        renewed.set(node, this.#node(node.at, below));
      }
      return renewed.get(top) as StackNode;
    });
    return this.#state(tops, state.accepts);
  }

  #makeStep(state: GrammarState, codePoint: number): GrammarStep {
    const after: (StackNode | null)[] = [];
    for (const { at, below } of state.tops)
      if (this.#matches(at, codePoint, codePoint)) after.push(this.#enter(at + 1, below));
    const compared = Math.ceil(state.tops.length / COMPARED_PER_COST);
    if (after.length === 0) return { state: null, cost: compared };
    const { state: next, cost } = this.#close(after);
    return { state: next, cost: cost + compared };
  }

  #matches(at: number, first: number, last: number): boolean {
    const element = this.#grammar.elements[at];
    return element?.type === "chars" && rangesHold(element.ranges, first, last);
  }

  /** The stack that goes on at `at`: what lies below where an alternative ends there. */
  #enter(at: number, below: StackNode | null): StackNode | null {
    return this.#grammar.elements[at]?.type === "end" ? below : this.#node(at, below);
  }

  /** Follows rules down to characters, in the order of alternatives. */
  #close(stacks: readonly (StackNode | null)[]): GrammarStep {
    const { elements, rules } = this.#grammar;
    const tops: StackNode[] = [];
    let accepts = false;
    const seen = new Set<number>();
    const todo = stacks.toReversed();
    let cost = 0;
    while (todo.length > 0 && cost < MAX_STEP_COST) {
      const node = todo.pop() ?? null;
      cost += 1;
      if (node === null) {
        accepts = true;
        continue;
      }
      if (seen.has(node.id)) continue;
      seen.add(node.id);
      const element = elements[node.at];
      if (element?.type !== "rule") {
        if (tops.length < MAX_STACKS) tops.push(node);
        continue;
      }
      const below = this.#enter(node.at + 1, node.below);
      const starts = rules[element.rule]?.starts ?? [];
      for (let i = starts.length - 1; i >= 0; i--) todo.push(this.#enter(starts[i] as number, below));
    }
    return tops.length === 0 && !accepts ? NO_STATE : { state: this.#state(tops, accepts), cost };
  }

  #node(at: number, below: StackNode | null): StackNode {
    // Positions are below 2^17 by the limits of a grammar: the key is a safe integer.
    const key = (below?.id ?? 0) * 2 ** 18 + at;
    let node = this.#nodes.get(key);
    if (node === undefined) {
      node = { id: this.#nextId++, at, below };
      this.#nodes.set(key, node);
      this.#size += 1;
    }
    return node;
  }

  #state(tops: readonly StackNode[], accepts: boolean): GrammarState {
    const key = `${accepts ? "+" : "-"}${tops.map(({ id }) => id).join()}`;
    let state = this.#states.get(key);
    if (state === undefined) {
      state = { tops, accepts, steps: new Map() };
      this.#states.set(key, state);
      this.#size += tops.length + 1;
    }
    return state;
  }
}
