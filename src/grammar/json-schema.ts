import { NoodleError } from "../common/index.ts";
import { checkCompiled } from "./check-grammar.ts";
import { failGrammar } from "../gbnf/index.ts";
import { GrammarBuilder } from "./grammar-builder.ts";
import * as json from "./json-rules.ts";
import { GRAMMAR_LIMITS } from "./limits.ts";
import { buildIntegerRange, buildNumberRange, type NumberBounds } from "./number-range.ts";
import { buildArray, buildObject } from "./schema-containers.ts";
import { areDisjoint } from "./schema-disjoint.ts";
import {
  isOfType,
  mergeNodes,
  readCount,
  readList,
  readTypes,
  SchemaDocument,
  type SchemaNode,
  Unsatisfiable,
  writeCounts,
} from "./schema-nodes.ts";
import { STRING_FORMATS } from "./string-formats.ts";
import { compilePattern } from "./string-pattern.ts";
import { buildTextChoice } from "./text-choice.ts";

/**
 * A GBNF whose texts are JSON documents of `schema`: every text that it accepts is valid under the schema. The other way
 * round it leaves some out: members come in the order of `properties`, objects with `properties` have no others unless
 * `additionalProperties` says so, whole numbers have at most 15 digits, strings and arrays at most 2,000 parts where a
 * limit is set.
 *
 * @throws NoodleError GRAMMAR_INVALID naming the path (a JSON pointer) and the keyword that can't be followed, or the limit
 */
export function compileJsonSchema(schema: unknown): string {
  const builder = new GrammarBuilder();
  const grammar = builder.build(addJsonSchema(builder, schema, "document"));
  checkCompiled(grammar);
  return grammar;
}

/** Adds the schema's rules. @param name wanted for its rule @returns the rule's name @throws NoodleError GRAMMAR_INVALID */
export function addJsonSchema(builder: GrammarBuilder, schema: unknown, name: string): string {
  checkSize(schema);
  try {
    return new SchemaCompiler(builder, schema).compile(schema, "#", 0, name);
  } catch (error) {
    if (error instanceof Unsatisfiable)
      throw new NoodleError("GRAMMAR_INVALID", `no document is valid: ${error.message}`, {
        details: { path: error.path },
      });
    throw error;
  }
}

type Alternative =
  | { readonly type: "texts"; readonly texts: readonly string[] }
  | { readonly type: "rule"; readonly name: string };

const BOUNDS = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"] as const;

export class SchemaCompiler {
  readonly builder: GrammarBuilder;
  readonly document: SchemaDocument;
  readonly #byRef = new Map<string, string | Unsatisfiable>();

  constructor(builder: GrammarBuilder, root: unknown) {
    this.builder = builder;
    this.document = new SchemaDocument(root);
  }

  /** @returns the name of the rule for this schema @throws Unsatisfiable; NoodleError GRAMMAR_INVALID */
  compile(schema: unknown, path: string, depth: number, name: string): string {
    const alternatives = this.#listAlternatives(schema, path, depth, name);
    const rules = new Set(alternatives.flatMap((item) => (item.type === "rule" ? [item.name] : [])));
    const value = json.addValue(this.builder);
    if (rules.has(value)) return value;
    // What is whole is a number too, and a second way to read it would be one too many.
    if (rules.has(json.addNumber(this.builder))) rules.delete(json.addInteger(this.builder));
    const texts = alternatives.flatMap((item) => (item.type === "texts" ? item.texts : []));
    const rest = texts.filter((text) => !this.#isCovered(text, rules));
    const [only] = rules;
    if (only !== undefined && rules.size === 1 && rest.length === 0) return only;
    const choice = rest.length === 0 ? [] : [buildTextChoice(this.builder, rest)];
    return this.builder.add(name, [...rules, ...choice].join(" | "));
  }

  #isCovered(text: string, rules: ReadonlySet<string>): boolean {
    const add = text.startsWith('"')
      ? json.addString
      : text.startsWith("{")
        ? json.addObject
        : text.startsWith("[")
          ? json.addArray
          : text === "null"
            ? json.addNull
            : text === "true" || text === "false"
              ? json.addBoolean
              : json.addNumber;
    return rules.has(add(this.builder));
  }

  #listAlternatives(schema: unknown, path: string, depth: number, name: string): Alternative[] {
    const node = this.document.normalize(schema, path, depth);
    if ("$ref" in node) return [{ type: "rule", name: this.#compileRef(node["$ref"], path, depth) }];
    for (const keyword of ["anyOf", "oneOf"]) {
      if (keyword in node) return this.#listChoices(node, keyword, path, depth, name);
    }
    if ("const" in node || "enum" in node) return [{ type: "texts", texts: listTexts(node, path) }];
    const types = new Set("type" in node ? readTypes(node["type"], path) : guessTypes(node));
    if (types.size === 0) return [{ type: "rule", name: json.addValue(this.builder) }];
    if (types.has("number")) types.delete("integer");
    return [...types].map((type) => ({ type: "rule", name: this.#compileType(type, node, path, depth, name) }));
  }

  #listChoices(node: SchemaNode, keyword: string, path: string, depth: number, name: string): Alternative[] {
    const { [keyword]: choices, ...base } = node;
    const list = readList(choices, `${path}/${keyword}`);
    const hasBase = Object.keys(base).length > 0;
    const found: Alternative[] = [];
    const nodes: SchemaNode[] = [];
    let failure: Unsatisfiable | undefined;
    for (const [index, choice] of list.entries()) {
      const choicePath = `${path}/${keyword}/${index}`;
      try {
        const merged = hasBase
          ? mergeNodes(base, this.document.expand(choice, choicePath, depth + 1), choicePath)
          : choice;
        found.push(...this.#listAlternatives(merged, choicePath, depth + 1, `${name}-${index + 1}`));
        if (keyword === "oneOf") nodes.push(this.document.expand(merged, choicePath, depth + 1));
      } catch (error) {
        if (!(error instanceof Unsatisfiable)) throw error;
        failure = error;
      }
    }
    if (found.length === 0) throw failure ?? new Unsatisfiable(path, `${keyword} is empty`);
    for (const [index, one] of nodes.entries()) {
      if (nodes.slice(index + 1).some((other) => !areDisjoint(one, other, this.document, depth)))
        failGrammar(`${path}/oneOf: a document could be valid under two of them: write anyOf`, {
          path,
          keyword: "oneOf",
        });
    }
    return found;
  }

  #compileRef(ref: unknown, path: string, depth: number): string {
    const key = String(ref);
    const known = this.#byRef.get(key);
    if (known instanceof Unsatisfiable) throw known;
    if (known !== undefined) return known;
    const target = this.document.resolve(ref, path);
    const name = this.builder.reserve(key.split("/").at(-1)?.replace("#", "document") ?? "ref");
    this.#byRef.set(key, name);
    try {
      const body = this.compile(target, key, depth + 1, `${name}-value`);
      if (body === name) failGrammar(`${path}/$ref: \`${key}\` refers to itself`, { path });
      this.builder.define(name, body);
    } catch (error) {
      if (error instanceof Unsatisfiable) this.#byRef.set(key, error);
      throw error;
    }
    return name;
  }

  #compileType(type: string, node: SchemaNode, path: string, depth: number, name: string): string {
    const { builder } = this;
    if (type === "null") return json.addNull(builder);
    if (type === "boolean") return json.addBoolean(builder);
    if (type === "object") return buildObject(this, node, path, depth, name);
    if (type === "array") return buildArray(this, node, path, depth, name);
    if (type === "string") return this.#compileString(node, path, name);
    const bounds = readBounds(node, path);
    const isBounded = Object.keys(bounds).length > 0;
    if (type === "integer")
      return isBounded ? builder.add(name, buildIntegerRange(bounds, path)) : json.addInteger(builder);
    return isBounded ? builder.add(name, buildNumberRange(bounds, path)) : json.addNumber(builder);
  }

  #compileString(node: SchemaNode, path: string, name: string): string {
    const min = readCount(node, "minLength", path) ?? 0;
    const max = readCount(node, "maxLength", path) ?? Infinity;
    if (min > max) throw new Unsatisfiable(path, `minLength ${min} is above maxLength ${max}`);
    const { pattern, format } = node;
    const known = typeof format === "string" ? STRING_FORMATS.get(format) : undefined;
    if (pattern !== undefined) {
      if (typeof pattern !== "string") failGrammar(`${path}/pattern: must be a text`, { path });
      if (known !== undefined) failGrammar(`${path}/pattern: beside a format it can't be followed`, { path });
      const { body, shortest, longest } = compilePattern(pattern, `${path}/pattern`);
      if (shortest < min || longest > max)
        failGrammar(`${path}/pattern: it must hold to minLength and maxLength by itself`, { path });
      return this.builder.add(name, `"\\"" (${body}) "\\""`);
    }
    if (known !== undefined) {
      if (min > 1 || max !== Infinity) failGrammar(`${path}/format: beside a length it can't be followed`, { path });
      return this.builder.add(String(format), `"\\"" (${known}) "\\""`);
    }
    if (min === 0 && max === Infinity) return json.addString(this.builder);
    return this.builder.add(
      name,
      `"\\"" ${json.addChar(this.builder)}${writeCounts(min, max, `${path}/minLength`)} "\\""`,
    );
  }
}

function listTexts(node: SchemaNode, path: string): string[] {
  for (const keyword of [
    "pattern",
    "format",
    "properties",
    "items",
    "prefixItems",
    "required",
    "additionalProperties",
  ]) {
    if (keyword in node) failGrammar(`${path}/${keyword}: beside enum or const it can't be followed`, { path });
  }
  const values = "enum" in node ? readList(node["enum"], `${path}/enum`) : [node["const"]];
  const texts = values.filter((value) => fitsNode(value, node, path)).map((value) => JSON.stringify(value));
  if (texts.length === 0) throw new Unsatisfiable(path, "no value of the enum fits the other keywords");
  return texts;
}

function fitsNode(value: unknown, node: SchemaNode, path: string): boolean {
  if ("const" in node && JSON.stringify(value) !== JSON.stringify(node["const"])) return false;
  if ("type" in node && !readTypes(node["type"], path).some((type) => isOfType(value, type))) return false;
  if (typeof value === "string") {
    const length = Array.from(value).length;
    return (
      length >= (readCount(node, "minLength", path) ?? 0) && length <= (readCount(node, "maxLength", path) ?? length)
    );
  }
  if (typeof value !== "number") return true;
  const { minimum, maximum, exclusiveMinimum, exclusiveMaximum } = readBounds(node, path);
  return (
    value >= (minimum ?? value) &&
    value <= (maximum ?? value) &&
    !(exclusiveMinimum !== undefined && value <= exclusiveMinimum) &&
    !(exclusiveMaximum !== undefined && value >= exclusiveMaximum)
  );
}

function readBounds(node: SchemaNode, path: string): NumberBounds {
  const bounds: Record<string, number> = {};
  for (const keyword of BOUNDS) {
    const value = node[keyword];
    if (value === undefined) continue;
    if (typeof value !== "number" || !Number.isFinite(value))
      failGrammar(`${path}/${keyword}: must be a number`, { path });
    bounds[keyword] = value;
  }
  return bounds;
}

/** A schema without a type allows any value that its keywords are not about; a model is asked for what they are about. */
function guessTypes(node: SchemaNode): string[] {
  const has = (...keywords: string[]): boolean => keywords.some((keyword) => keyword in node);
  if (has("properties", "required", "additionalProperties", "minProperties", "maxProperties")) return ["object"];
  if (has("items", "prefixItems", "minItems", "maxItems")) return ["array"];
  if (has("minLength", "maxLength", "pattern", "format")) return ["string"];
  return has(...BOUNDS) ? ["number"] : [];
}

/** Counts what the schema would be as compact JSON, and stops at the limit. */
function checkSize(schema: unknown): void {
  let bytes = 0;
  const visit = (value: unknown, depth: number): void => {
    if (depth > 4 * GRAMMAR_LIMITS.depth)
      failGrammar(`the schema is more than ${4 * GRAMMAR_LIMITS.depth} levels deep`);
    if (typeof value === "string") bytes += Buffer.byteLength(value) + 2;
    else if (typeof value !== "object" || value === null) bytes += 4;
    else if (Array.isArray(value)) {
      bytes += 2 + value.length;
      if (bytes <= GRAMMAR_LIMITS.sourceBytes) for (const item of value) visit(item, depth + 1);
    } else {
      for (const [key, item] of Object.entries(value)) {
        bytes += Buffer.byteLength(key) + 4;
        visit(item, depth + 1);
      }
    }
    if (bytes > GRAMMAR_LIMITS.sourceBytes)
      failGrammar(`the schema is larger than ${GRAMMAR_LIMITS.sourceBytes} bytes`, {
        limitBytes: GRAMMAR_LIMITS.sourceBytes,
      });
  };
  visit(schema, 0);
}
