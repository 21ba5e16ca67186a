import { failGrammar } from "../gbnf/index.ts";
import * as json from "./json-rules.ts";
import type { SchemaCompiler } from "./json-schema.ts";
import {
  readCount,
  readProperties,
  readRequired,
  type SchemaNode,
  Unsatisfiable,
  writeCounts,
} from "./schema-nodes.ts";
import { buildBranches, buildOtherKey, type TextBranch } from "./text-choice.ts";

interface Member {
  readonly key: string;
  /** Name of the value's rule. */
  readonly value: string;
  readonly isRequired: boolean;
}

/** Members in the order of `properties`, those that are only `required` behind them, then additional ones. */
export function buildObject(
  compiler: SchemaCompiler,
  node: SchemaNode,
  path: string,
  depth: number,
  name: string,
): string {
  const { builder } = compiler;
  const properties = readProperties(node, path);
  const required = readRequired(node, path);
  const rest = node["additionalProperties"];
  if (properties.size === 0 && required.size === 0 && (rest === undefined || rest === true) && !hasCounts(node))
    return json.addObject(builder);
  const space = json.addSpace(builder);
  const members: Member[] = [];
  for (const key of new Set([...properties.keys(), ...required])) {
    const isRequired = required.has(key);
    const schema = properties.has(key) ? properties.get(key) : (rest ?? true);
    const keyPath = `${path}/properties/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`;
    try {
      const value = compiler.compile(schema, keyPath, depth + 1, key === "" ? "member" : key);
      members.push({ key, value, isRequired });
    } catch (error) {
      // A member that can't be valid must not be there.
      if (!(error instanceof Unsatisfiable) || isRequired) throw error;
    }
  }
  const takesOthers = rest !== undefined && rest !== false;
  checkCounts(node, path, members, takesOthers);
  const other = takesOthers
    ? `${buildOtherKey(builder, properties.keys())} ":" ${space} ${compiler.compile(rest, `${path}/additionalProperties`, depth + 1, `${name}-other`)} ${space}`
    : undefined;
  const body = buildMembers(compiler, members, other, name);
  return builder.add(name, body === "" ? `"{" ${space} "}"` : `"{" ${space} ${body} "}"`);
}

/**
 * From the last member to the first: what may come at a place is a choice of keys, up to the next required one. Each
 * member goes on with the choice behind it, so that a hundred optional ones are no hundred thousand rules.
 *
 * @param other GBNF of one additional member
 */
function buildMembers(
  compiler: SchemaCompiler,
  members: readonly Member[],
  other: string | undefined,
  name: string,
): string {
  const { builder } = compiler;
  const space = json.addSpace(builder);
  let rest = "";
  let next = "";
  let mayBeNone = true;
  let others: string[] = [];
  let open: TextBranch[] = [];
  if (other !== undefined) {
    const member = builder.add(`${name}-other`, other);
    rest = `("," ${space} ${member})*`;
    next = `${member} ${rest}`;
    others = [next];
  }
  for (const [index, { key, value, isRequired }] of [...members.entries()].toReversed()) {
    const body = builder.add(`${name}-${index + 1}`, `":" ${space} ${value} ${space}${rest === "" ? "" : ` ${rest}`}`);
    const branch = { text: JSON.stringify(key), behind: body };
    if (isRequired) {
      open = [branch];
      others = [];
      mayBeNone = false;
    } else open = [branch, ...open];
    next = builder.add(`${name}-from-${index + 1}`, [buildBranches(builder, open), ...others].join(" | "));
    rest = mayBeNone ? `("," ${space} ${next})?` : `"," ${space} ${next}`;
  }
  return mayBeNone && next !== "" ? `(${next})?` : next;
}

function hasCounts(node: SchemaNode): boolean {
  return "minProperties" in node || "maxProperties" in node;
}

/** Members are not counted by a grammar: the limits must follow from what is there anyway. */
function checkCounts(node: SchemaNode, path: string, members: readonly Member[], takesOthers: boolean): void {
  const atLeast = members.filter((member) => member.isRequired).length;
  if ((readCount(node, "minProperties", path) ?? 0) > atLeast)
    failGrammar(`${path}/minProperties: members can't be counted: make them required`, {
      path,
      keyword: "minProperties",
    });
  if ((readCount(node, "maxProperties", path) ?? Infinity) < (takesOthers ? Infinity : members.length))
    failGrammar(`${path}/maxProperties: members can't be counted`, { path, keyword: "maxProperties" });
}

export function buildArray(
  compiler: SchemaCompiler,
  node: SchemaNode,
  path: string,
  depth: number,
  name: string,
): string {
  const { builder } = compiler;
  const prefix = node["prefixItems"] ?? [];
  if (!Array.isArray(prefix)) failGrammar(`${path}/prefixItems: must be a list`, { path });
  const min = readCount(node, "minItems", path) ?? 0;
  let max = readCount(node, "maxItems", path) ?? Infinity;
  if (min > max) throw new Unsatisfiable(path, `minItems ${min} is above maxItems ${max}`);
  const items = node["items"];
  if (prefix.length === 0 && (items === undefined || items === true) && min === 0 && max === Infinity)
    return json.addArray(builder);
  const space = json.addSpace(builder);
  const compileItem = (schema: unknown, itemPath: string, itemName: string): string | undefined => {
    try {
      return compiler.compile(schema, itemPath, depth + 1, itemName);
    } catch (error) {
      if (error instanceof Unsatisfiable) return undefined;
      throw error;
    }
  };
  const fixed: string[] = [];
  for (const [index, schema] of (prefix as unknown[]).slice(0, max).entries()) {
    const item = compileItem(schema, `${path}/prefixItems/${index}`, `${name}-${index + 1}`);
    if (item === undefined) {
      max = index;
      break;
    }
    fixed.push(item);
  }
  const more = max > fixed.length ? compileItem(items ?? true, `${path}/items`, `${name}-item`) : undefined;
  if (more === undefined) max = Math.min(max, fixed.length);
  if (min > max) throw new Unsatisfiable(path, `at least ${min} items are wanted and ${max} possible`);
  if (max === 0) return builder.add(name, `"[" ${space} "]"`);
  // From the last to the first, as with members; an item behind the first has its comma.
  let tail = "";
  if (more !== undefined) {
    const item = `${more} ${space}`;
    const next = builder.add(`${name}-next`, `"," ${space} ${item}`);
    const taken = fixed.length;
    if (taken === 0) {
      const others = max === 1 ? "" : ` ${next}${writeCounts(Math.max(0, min - 1), max - 1, `${path}/minItems`)}`;
      return builder.add(name, `"[" ${space} ${min === 0 ? `(${item}${others})?` : `${item}${others}`} "]"`);
    }
    tail = `${next}${writeCounts(Math.max(0, min - taken), max - taken, `${path}/minItems`)}`;
  }
  for (const [index, item] of [...fixed.entries()].toReversed()) {
    const comma = index === 0 ? "" : `"," ${space} `;
    const body = `${comma}${item} ${space}${tail === "" ? "" : ` ${tail}`}`;
    tail = index >= min ? `(${body})?` : body;
    // Named, so that parentheses don't pile up.
    if (index > 0) tail = builder.add(`${name}-item-${index + 1}`, tail);
  }
  return builder.add(name, `"[" ${space} ${tail} "]"`);
}
