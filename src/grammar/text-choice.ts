import { type GrammarBuilder, quoteRanges, quoteText } from "./grammar-builder.ts";
import { invertRanges, joinRanges } from "../gbnf/index.ts";

/** A text, and GBNF of what follows it; "" for nothing. */
export interface TextBranch {
  readonly text: string;
  readonly behind: string;
}

/** The GBNF of exactly these texts. */
export function buildTextChoice(builder: GrammarBuilder, texts: readonly string[]): string {
  return buildBranches(
    builder,
    [...new Set(texts)].map((text) => ({ text, behind: "" })),
  );
}

/**
 * The GBNF of these texts with what follows each, as a tree of their beginnings: at each character there is one way to
 * go on, however many texts there are. No two may have the same text.
 */
export function buildBranches(builder: GrammarBuilder, branches: readonly TextBranch[]): string {
  return buildFrom(
    builder,
    branches.map(({ text, behind }) => ({ characters: Array.from(text), behind })),
    0,
  );
}

interface Branch {
  readonly characters: readonly string[];
  readonly behind: string;
}

function buildFrom(builder: GrammarBuilder, branches: readonly Branch[], at: number): string {
  const byNext = new Map<string, Branch[]>();
  const alternatives: string[] = [];
  for (const branch of branches) {
    const next = branch.characters[at];
    if (next === undefined) alternatives.push(branch.behind === "" ? '""' : branch.behind);
    else byNext.set(next, [...(byNext.get(next) ?? []), branch]);
  }
  for (const group of byNext.values()) {
    const end = findCommonEnd(
      group.map(({ characters }) => characters),
      at + 1,
    );
    const [only] = group;
    const head = quoteText((only?.characters ?? []).slice(at, end).join(""));
    const isOne = group.length === 1 && only !== undefined;
    const tail = isOne ? only.behind : builder.add("choice", buildFrom(builder, group, end));
    alternatives.push(tail === "" ? head : `${head} ${tail}`);
  }
  return alternatives.join(" | ");
}

function findCommonEnd(texts: readonly (readonly string[])[], from: number): number {
  const [first = []] = texts;
  let end = from;
  while (end < first.length && texts.every((text) => text[end] === first[end])) end += 1;
  return end;
}

interface KeyTree {
  isKey: boolean;
  readonly children: Map<string, KeyTree>;
}

/** What a JSON string holds as itself; surrogates stand for nothing alone. */
const NOT_PLAIN: readonly (readonly [number, number])[] = [[0, 0x1f], [0x22, 0x22], [0x5c, 0x5c], [0xd800, 0xdfff]]; // biome-ignore format: one row

/** The GBNF of a JSON string that is none of `keys`. It holds no escapes: with them a key could be written otherwise. */
export function buildOtherKey(builder: GrammarBuilder, keys: Iterable<string>): string {
  const root: KeyTree = { isKey: false, children: new Map() };
  for (const key of keys) {
    // One with escapes is none of the texts below.
    if (JSON.stringify(key) !== `"${key}"`) continue;
    let tree = root;
    for (const character of key) {
      const next = tree.children.get(character) ?? { isKey: false, children: new Map<string, KeyTree>() };
      tree.children.set(character, next);
      tree = next;
    }
    tree.isKey = true;
  }
  const plain = builder.add("plain", `${quoteRanges(invertRanges(joinRanges(NOT_PLAIN)))}*`);
  return `"\\"" ${buildOtherFrom(builder, root, plain)} "\\""`;
}

function buildOtherFrom(builder: GrammarBuilder, tree: KeyTree, plain: string): string {
  const taken = [...tree.children.keys()].map((character): [number, number] => {
    const codePoint = character.codePointAt(0) ?? 0;
    return [codePoint, codePoint];
  });
  const others = invertRanges(joinRanges([...NOT_PLAIN, ...taken]));
  const alternatives = [...tree.children].map(
    ([character, child]) => `${quoteText(character)} ${buildOtherFrom(builder, child, plain)}`,
  );
  alternatives.push(`${quoteRanges(others)} ${plain}`);
  if (!tree.isKey) alternatives.push('""');
  return builder.add("other", alternatives.join(" | "));
}
