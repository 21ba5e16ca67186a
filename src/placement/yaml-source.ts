import {
  type Document,
  isAlias,
  isMap,
  isPair,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
  visit,
} from "yaml";
import { NoodleError } from "../common/index.ts";
import { CLUSTER_LIMITS } from "./cluster-schema.ts";

/** A YAML text that was read within limits, and where in it each value stands. */
export class YamlSource {
  readonly value: unknown;
  readonly #document: Document;
  readonly #lines: LineCounter;
  readonly #label: string;

  /**
   * @param label how messages call the text
   * @throws NoodleError `CLUSTER_INVALID` for text that is too long, nested too deeply, no YAML, holds a key twice or
   *   one that is no word, or stands for too much by its anchors
   */
  constructor(text: string, label: string) {
    this.#label = label;
    this.#lines = new LineCounter();
    const bytes = Buffer.byteLength(text);
    if (bytes > CLUSTER_LIMITS.textBytes) {
      throw this.fail(`has ${bytes} bytes; the limit is ${CLUSTER_LIMITS.textBytes}`, null);
    }
    try {
      this.#document = parseDocument(text, { lineCounter: this.#lines, prettyErrors: false, version: "1.2" });
    } catch (cause) {
      // The parser calls itself for each level.
      throw this.fail(`is nested too deeply; the limit is ${CLUSTER_LIMITS.depth} levels`, null, cause);
    }
    const [problem] = [...this.#document.errors, ...this.#document.warnings];
    if (problem !== undefined) throw this.fail(`is no YAML: ${firstLine(problem.message)}`, problem.pos[0]);
    this.#checkTree();
    try {
      this.value = this.#document.toJS({ maxAliasCount: CLUSTER_LIMITS.aliases }) as unknown;
    } catch (cause) {
      const words = `stands for too much: anchors may be used ${CLUSTER_LIMITS.aliases} times, counted as if each use were written out`;
      throw this.fail(words, null, cause);
    }
  }

  /**
   * An error that names the place of a value, or of one of its keys.
   *
   * @param path of the value; null = the text as a whole
   * @param key of the value, where the key itself is what is wrong
   */
  invalid(words: string, path: readonly PropertyKey[], key: string | null = null): NoodleError {
    return this.fail(`${showPath(path)}${words}`, this.#findOffset(path, key));
  }

  /** @param offset of the character; null = the text as a whole */
  private fail(words: string, offset: number | null, cause?: unknown): NoodleError {
    const { line, col } = offset === null ? { line: null, col: null } : this.#lines.linePos(offset);
    const place = line === null ? "" : `:${line}:${col}`;
    return new NoodleError("CLUSTER_INVALID", `${this.#label}${place}: ${words}`, {
      details: { line, column: col },
      ...(cause === undefined ? {} : { cause }),
    });
  }

  #checkTree(): void {
    visit(this.#document, {
      Node: (_key, _node, ancestors) => {
        if (ancestors.length > 2 * CLUSTER_LIMITS.depth) {
          throw this.fail(`is nested too deeply; the limit is ${CLUSTER_LIMITS.depth} levels`, null);
        }
      },
      Pair: (_key, pair) => {
        const { key } = pair;
        const text = isScalar(key) ? key.value : null;
        if (typeof text === "string" && text !== "__proto__") return;
        throw this.fail("a key must be a plain word", offsetOf(key));
      },
    });
  }

  #findOffset(path: readonly PropertyKey[], key: string | null): number | null {
    let node: unknown = this.#document.contents;
    let offset = offsetOf(node);
    for (const part of path) {
      node = this.#resolve(node);
      const child = isMap(node)
        ? node.items.find((item) => isScalar(item.key) && item.key.value === part)
        : isSeq(node) && typeof part === "number"
          ? node.items[part]
          : undefined;
      if (child === undefined) return offset;
      node = isPair(child) ? child.value : child;
      offset = offsetOf(node) ?? (isPair(child) ? offsetOf(child.key) : null) ?? offset;
    }
    if (key === null) return offset;
    node = this.#resolve(node);
    if (!isMap(node)) return offset;
    return offsetOf(node.items.find((item) => isScalar(item.key) && item.key.value === key)?.key) ?? offset;
  }

  #resolve(node: unknown): unknown {
    return isAlias(node) ? node.resolve(this.#document) : node;
  }
}

function offsetOf(node: unknown): number | null {
  const range = (node as Node | null | undefined)?.range;
  return range === null || range === undefined ? null : range[0];
}

function showPath(path: readonly PropertyKey[]): string {
  const text = path.reduce<string>(
    (before, part) =>
      typeof part === "number" ? `${before}[${part}]` : before === "" ? String(part) : `${before}.${String(part)}`,
    "",
  );
  return text === "" ? "" : `${text}: `;
}

function firstLine(text: string): string {
  return (text.split("\n")[0] ?? text).slice(0, 200);
}
