import { failGrammar, GBNF_LIMITS } from "../gbnf/index.ts";
import { GRAMMAR_LIMITS } from "./limits.ts";

export type SchemaNode = Readonly<Record<string, unknown>>;

/** No document can be valid: an alternative that is so falls away, and the whole schema is refused when it is so. */
export class Unsatisfiable extends Error {
  readonly path: string;

  constructor(path: string, why: string) {
    super(`${path}: ${why}`);
    this.path = path;
  }
}

/** Keywords that say something about documents which a grammar can't hold to. */
const REFUSED: ReadonlyMap<string, (value: unknown) => boolean> = new Map([
  ["not", () => true],
  ["if", () => true],
  ["then", () => true],
  ["else", () => true],
  ["dependentRequired", isNotEmpty],
  ["dependentSchemas", isNotEmpty],
  ["dependencies", isNotEmpty],
  ["patternProperties", isNotEmpty],
  ["propertyNames", (value: unknown) => value !== true && isNotEmpty(value)],
  ["contains", () => true],
  ["minContains", () => true],
  ["maxContains", () => true],
  ["unevaluatedItems", (value: unknown) => value !== true],
  ["unevaluatedProperties", (value: unknown) => value !== true],
  ["uniqueItems", (value: unknown) => value !== false],
  ["multipleOf", (value: unknown) => value !== 1],
  ["$dynamicRef", () => true],
  ["$recursiveRef", () => true],
]);

/** What changes which documents are valid; anything else is a remark. */
const KEYWORDS: ReadonlySet<string> = new Set([
  ...REFUSED.keys(),
  "$ref",
  "allOf",
  "anyOf",
  "oneOf",
  "type",
  "enum",
  "const",
  "nullable",
  "properties",
  "required",
  "additionalProperties",
  "minProperties",
  "maxProperties",
  "items",
  "prefixItems",
  "additionalItems",
  "minItems",
  "maxItems",
  "minLength",
  "maxLength",
  "pattern",
  "format",
  "minimum",
  "maximum",
  "exclusiveMinimum",
  "exclusiveMaximum",
]);

/** Reads the nodes of one schema document: looks references up, and brings every node to one form. */
export class SchemaDocument {
  readonly #root: unknown;
  #nodes = 0;
  readonly #expanded = new WeakMap<object, SchemaNode>();

  constructor(root: unknown) {
    this.#root = root;
  }

  /**
   * The node without `$ref` beside other keywords, `nullable`, `allOf`, tuples of the old form and boolean exclusive
   * bounds. A node that is nothing but a reference stays one, so that recursion stays recursion.
   *
   * @throws Unsatisfiable; NoodleError GRAMMAR_INVALID
   */
  normalize(schema: unknown, path: string, depth: number): SchemaNode {
    this.#nodes += 1;
    if (this.#nodes > GRAMMAR_LIMITS.schemaNodes)
      failGrammar(`${path}: more than ${GRAMMAR_LIMITS.schemaNodes} schemas once references are followed`, { path });
    if (depth > GRAMMAR_LIMITS.depth)
      failGrammar(`${path}: schemas more than ${GRAMMAR_LIMITS.depth} deep within one another`, { path });
    if (schema === true) return {};
    if (schema === false) throw new Unsatisfiable(path, "`false` allows no value");
    if (typeof schema !== "object" || schema === null || Array.isArray(schema))
      failGrammar(`${path}: a schema must be an object, true or false`, { path });
    let node = pickKeywords(schema as SchemaNode, path);
    if ("$ref" in node && Object.keys(node).length > 1) {
      const { $ref, ...rest } = node;
      node = mergeNodes(this.#follow($ref, path, depth), this.normalize(rest, path, depth + 1), path);
    }
    if (node["nullable"] === true) node = addNull(node);
    const { nullable: _, allOf, ...rest } = node;
    if (allOf === undefined) return readOldForms(rest);
    let merged = readOldForms(rest);
    for (const [index, part] of readList(allOf, `${path}/allOf`).entries()) {
      const partPath = `${path}/allOf/${index}`;
      merged = mergeNodes(merged, this.expand(part, partPath, depth + 1), partPath);
    }
    return merged;
  }

  /** As `normalize`, and a reference is followed. */
  expand(schema: unknown, path: string, depth: number): SchemaNode {
    const known = typeof schema === "object" && schema !== null ? this.#expanded.get(schema) : undefined;
    if (known !== undefined) return known;
    const node = this.normalize(schema, path, depth);
    const expanded = "$ref" in node ? this.#follow(node["$ref"], path, depth) : node;
    if (typeof schema === "object" && schema !== null) this.#expanded.set(schema, expanded);
    return expanded;
  }

  /** @param ref `#` or `#/...` */
  resolve(ref: unknown, path: string): unknown {
    if (typeof ref !== "string" || !(ref === "#" || ref.startsWith("#/")))
      failGrammar(`${path}/$ref: only references within the schema (\`#/...\`) are followed`, { path });
    let target: unknown = this.#root;
    for (const part of ref.split("/").slice(1)) {
      const key = decodePart(part, path).replaceAll("~1", "/").replaceAll("~0", "~");
      if (typeof target !== "object" || target === null || !Object.hasOwn(target, key))
        failGrammar(`${path}/$ref: there is no \`${ref}\` in the schema`, { path });
      target = (target as SchemaNode)[key];
    }
    return target;
  }

  #follow(ref: unknown, path: string, depth: number): SchemaNode {
    // A chain of references that leads nowhere ends at the limit of depth.
    return this.expand(this.resolve(ref, path), `${path}/$ref`, depth + 1);
  }
}

function decodePart(part: string, path: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return failGrammar(`${path}/$ref: \`${part}\` is no part of a reference`, { path });
  }
}

function pickKeywords(schema: SchemaNode, path: string): SchemaNode {
  const node: Record<string, unknown> = Object.create(null) as Record<string, unknown>;
  for (const [key, value] of Object.entries(schema)) {
    if (!KEYWORDS.has(key) || value === undefined) continue;
    const refuses = REFUSED.get(key);
    if (refuses === undefined) node[key] = value;
    else if (refuses(value)) failGrammar(`${path}/${key}: this keyword can't be followed`, { path, keyword: key });
  }
  return node;
}

function addNull(node: SchemaNode): SchemaNode {
  const { nullable: _, ...rest } = node;
  return Object.keys(rest).length === 0 ? rest : { anyOf: [rest, { type: "null" }] };
}

function readOldForms(node: SchemaNode): SchemaNode {
  const { items, additionalItems, ...result } = node as Record<string, unknown>;
  if (Array.isArray(items)) {
    result["prefixItems"] = items;
    if (additionalItems !== undefined) result["items"] = additionalItems;
  } else if (items !== undefined) result["items"] = items;
  for (const [flag, bound] of [
    ["exclusiveMinimum", "minimum"],
    ["exclusiveMaximum", "maximum"],
  ] as const) {
    if (typeof result[flag] !== "boolean") continue;
    if (result[flag] && typeof result[bound] === "number") result[flag] = result[bound];
    else delete result[flag];
  }
  return result;
}

type Merge = (a: unknown, b: unknown, path: string) => unknown;

const bothOf: Merge = (a, b) => ({ allOf: [a, b] });
const larger: Merge = (a, b) => (typeof a === "number" && typeof b === "number" ? Math.max(a, b) : a);
const smaller: Merge = (a, b) => (typeof a === "number" && typeof b === "number" ? Math.min(a, b) : a);

const MERGES: Readonly<Record<string, Merge>> = {
  type: (a, b, path) => {
    const [types, others] = [readTypes(a, path), readTypes(b, path)];
    const both = types.filter((type) => others.includes(type) || (type === "integer" && others.includes("number")));
    if (others.includes("integer") && types.includes("number") && !both.includes("integer")) both.push("integer");
    if (both.length === 0)
      throw new Unsatisfiable(path, `no value is ${types.join(" or ")} and ${others.join(" or ")}`);
    return both;
  },
  enum: (a, b, path) => {
    const others = readList(b, path).map((value) => JSON.stringify(value));
    const both = readList(a, path).filter((value) => others.includes(JSON.stringify(value)));
    if (both.length === 0) throw new Unsatisfiable(path, "the enums have no value in common");
    return both;
  },
  const: (a, b, path) => {
    if (JSON.stringify(a) !== JSON.stringify(b)) throw new Unsatisfiable(path, "two different constants");
    return a;
  },
  required: (a, b, path) => [...new Set([...readList(a, path), ...readList(b, path)])],
  additionalProperties: bothOf,
  anyOf: (a, b, path) =>
    readList(a, path).flatMap((left) => readList(b, path).map((right) => bothOf(left, right, path))),
  minLength: larger,
  minItems: larger,
  minProperties: larger,
  minimum: larger,
  exclusiveMinimum: larger,
  maxLength: smaller,
  maxItems: smaller,
  maxProperties: smaller,
  maximum: smaller,
  exclusiveMaximum: smaller,
};

/** A schema of the documents that both allow. @throws Unsatisfiable; NoodleError GRAMMAR_INVALID where there is no such */
export function mergeNodes(a: SchemaNode, b: SchemaNode, path: string): SchemaNode {
  if (Object.keys(a).length === 0) return b;
  if (Object.keys(b).length === 0) return a;
  const merged: Record<string, unknown> = { ...a };
  for (const [key, value] of Object.entries(b)) {
    if (key === "properties" || key === "prefixItems" || key === "items" || key === "additionalProperties") continue;
    if (!(key in a)) {
      merged[key] = value;
      continue;
    }
    const merge = Object.hasOwn(MERGES, key) ? MERGES[key] : undefined;
    if (merge !== undefined) merged[key] = merge(a[key], value, path);
    else if (JSON.stringify(a[key]) !== JSON.stringify(value))
      failGrammar(`${path}/${key}: two different ones at once can't be followed`, { path, keyword: key });
  }
  return { ...merged, ...mergeObjects(a, b, path), ...mergeArrays(a, b) };
}

/** A property that one side does not name must be what its `additionalProperties` says. */
function mergeObjects(a: SchemaNode, b: SchemaNode, path: string): SchemaNode {
  const [left, right] = [readProperties(a, path), readProperties(b, path)];
  const properties: [string, unknown][] = [];
  for (const key of new Set([...left.keys(), ...right.keys()])) {
    const ours = left.has(key) ? left.get(key) : a["additionalProperties"];
    const others = right.has(key) ? right.get(key) : b["additionalProperties"];
    properties.push([key, both(ours, others)]);
  }
  const rest = both(a["additionalProperties"], b["additionalProperties"]);
  return {
    ...(properties.length > 0 ? { properties: Object.fromEntries(properties) } : {}),
    ...(rest === undefined ? {} : { additionalProperties: rest }),
  };
}

function mergeArrays(a: SchemaNode, b: SchemaNode): SchemaNode {
  const [left, right] = [a["prefixItems"], b["prefixItems"]].map((items): unknown[] =>
    Array.isArray(items) ? items : [],
  );
  const prefix = Array.from({ length: Math.max(left?.length ?? 0, right?.length ?? 0) }, (_, i) =>
    both(i < (left?.length ?? 0) ? left?.[i] : a["items"], i < (right?.length ?? 0) ? right?.[i] : b["items"]),
  );
  const items = both(a["items"], b["items"]);
  return {
    ...(prefix.length > 0 ? { prefixItems: prefix.map((item) => item ?? true) } : {}),
    ...(items === undefined ? {} : { items }),
  };
}

function both(a: unknown, b: unknown): unknown {
  if (a === undefined || a === true) return b ?? a;
  if (b === undefined || b === true) return a;
  if (a === false || b === false) return false;
  return { allOf: [a, b] };
}

const TYPES = ["object", "array", "string", "number", "integer", "boolean", "null"];

export function readTypes(value: unknown, path: string): string[] {
  const types = Array.isArray(value) ? (value as unknown[]) : [value];
  for (const type of types) {
    if (typeof type !== "string" || !TYPES.includes(type))
      failGrammar(`${path}/type: ${JSON.stringify(type)} is none of ${TYPES.join(", ")}`, { path });
  }
  if (types.length === 0) throw new Unsatisfiable(path, "the list of types is empty");
  return types as string[];
}

export function readList(value: unknown, path: string): readonly unknown[] {
  if (!Array.isArray(value) || value.length === 0) failGrammar(`${path}: must be a list that is not empty`, { path });
  return value as unknown[];
}

export function readProperties(node: SchemaNode, path: string): ReadonlyMap<string, unknown> {
  const properties = node["properties"] ?? {};
  if (typeof properties !== "object" || properties === null || Array.isArray(properties))
    failGrammar(`${path}/properties: must be an object`, { path });
  return new Map(Object.entries(properties));
}

export function readRequired(node: SchemaNode, path: string): ReadonlySet<string> {
  const required = node["required"] ?? [];
  if (!Array.isArray(required) || required.some((key) => typeof key !== "string"))
    failGrammar(`${path}/required: must be a list of names`, { path });
  return new Set(required as string[]);
}

/** @returns undefined where the keyword is not there */
export function readCount(node: SchemaNode, keyword: string, path: string): number | undefined {
  const value = node[keyword];
  if (value === undefined) return undefined;
  if (typeof value !== "number" || !Number.isInteger(value) || value < 0)
    failGrammar(`${path}/${keyword}: must be a whole number, not negative`, { path });
  return value;
}

/** A repetition. The engine knows no upper bound above its limit, so that a larger one becomes that. */
export function writeCounts(min: number, max: number, path: string): string {
  const limit = GBNF_LIMITS.repetition;
  if (min > limit) failGrammar(`${path}: ${min} is above the limit of ${limit}`, { path });
  return max === Infinity ? `{${min},}` : `{${min},${Math.min(max, limit)}}`;
}

export function isOfType(value: unknown, type: string): boolean {
  if (type === "null") return value === null;
  if (type === "array") return Array.isArray(value);
  if (type === "integer") return Number.isInteger(value);
  if (type === "object") return typeof value === "object" && value !== null && !Array.isArray(value);
  return typeof value === type;
}

function isNotEmpty(value: unknown): boolean {
  return typeof value !== "object" || value === null || Object.keys(value).length > 0;
}
