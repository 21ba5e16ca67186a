import {
  isOfType,
  readList,
  readProperties,
  readRequired,
  readTypes,
  type SchemaDocument,
  type SchemaNode,
  Unsatisfiable,
} from "./schema-nodes.ts";

const ALL_TYPES = ["object", "array", "string", "number", "boolean", "null"];

/**
 * Whether it can be shown that no document that a grammar makes of one is valid under the other: other types, other
 * values, a member that both have with values of which that is true, or a member that only one can have.
 */
export function areDisjoint(a: SchemaNode, b: SchemaNode, document: SchemaDocument, depth: number): boolean {
  const [values, others] = [listValues(a), listValues(b)];
  if (values !== undefined && others !== undefined)
    return !values.some((value) => others.some((other) => JSON.stringify(other) === JSON.stringify(value)));
  const [types, otherTypes] = [listTypes(a), listTypes(b)];
  if (values !== undefined) return !values.some((value) => otherTypes.some((type) => isOfType(value, type)));
  if (others !== undefined) return !others.some((value) => types.some((type) => isOfType(value, type)));
  const shared = types.filter((type) => otherTypes.includes(type));
  if (shared.length === 0) return true;
  return shared.length === 1 && shared[0] === "object" && areDisjointObjects(a, b, document, depth);
}

function areDisjointObjects(a: SchemaNode, b: SchemaNode, document: SchemaDocument, depth: number): boolean {
  const [left, right] = [readProperties(a, "#"), readProperties(b, "#")];
  const [needed, otherNeeded] = [readRequired(a, "#"), readRequired(b, "#")];
  for (const key of needed) {
    if (!otherNeeded.has(key) || !left.has(key) || !right.has(key)) continue;
    try {
      const one = document.expand(left.get(key), `#/properties/${key}`, depth + 1);
      const other = document.expand(right.get(key), `#/properties/${key}`, depth + 1);
      if (areDisjoint(one, other, document, depth + 1)) return true;
    } catch (error) {
      if (error instanceof Unsatisfiable) return true;
      throw error;
    }
  }
  return lacks(a, left, otherNeeded) && lacks(b, right, needed);
}

/** What is made of `node` never has one of the names in `needed`. */
function lacks(node: SchemaNode, properties: ReadonlyMap<string, unknown>, needed: ReadonlySet<string>): boolean {
  const takesOthers = node["additionalProperties"] !== undefined && node["additionalProperties"] !== false;
  return !takesOthers && [...needed].some((key) => !properties.has(key) && !readRequired(node, "#").has(key));
}

function listValues(node: SchemaNode): readonly unknown[] | undefined {
  if ("const" in node) return [node["const"]];
  return "enum" in node ? readList(node["enum"], "#/enum") : undefined;
}

function listTypes(node: SchemaNode): string[] {
  if ("type" in node) return readTypes(node["type"], "#").map((type) => (type === "integer" ? "number" : type));
  if ("anyOf" in node || "oneOf" in node) return ALL_TYPES;
  return "properties" in node || "required" in node ? ["object"] : ALL_TYPES;
}
