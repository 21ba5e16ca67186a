import fc from "fast-check";

/** What of JSON Schema the documents of the API use. */
interface Schema {
  readonly type?: string;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: Schema;
  readonly items?: Schema;
  readonly pattern?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly maxLength?: number;
}

/** Values that a schema allows, and, now and then, ones that it does not. Small: what is large has tests of its own. */
export function arbitraryBody(schema: object): fc.Arbitrary<unknown> {
  return fc.oneof({ weight: 19, arbitrary: allowed(schema) }, { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 2 }) });
}

function allowed(schema: Schema): fc.Arbitrary<unknown> {
  const branches = schema.anyOf ?? schema.oneOf;
  if (branches !== undefined) return fc.oneof(...branches.map(arbitraryBody));
  if (schema.const !== undefined) return fc.constant(schema.const);
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
  switch (schema.type) {
    case "null":
      return fc.constant(null);
    case "boolean":
      return fc.boolean();
    case "string":
      return schema.pattern === undefined ? arbitraryText(schema) : fc.stringMatching(new RegExp(schema.pattern));
    case "integer":
      return fc.integer(within(schema));
    case "number":
      return fc.double({ ...within(schema), noNaN: true });
    case "array":
      return fc.array(arbitraryBody(schema.items ?? {}), { maxLength: 4 });
    case "object":
      return arbitraryObject(schema);
    default:
      return fc.jsonValue({ maxDepth: 2 });
  }
}

function arbitraryText({ maxLength = 100 }: Schema): fc.Arbitrary<string> {
  const words = fc.constantFrom(
    "fake-model",
    "Hello",
    "<|im_end|>",
    "{{ x }}",
    "{% for %}",
    "😀",
    "\u0000",
    'root ::= "a"',
  );
  return fc.oneof(fc.string({ maxLength: Math.min(40, maxLength + 1), unit: "binary" }), words);
}

function within({ minimum = -1000, maximum = 1000 }: Schema): { min: number; max: number } {
  return { min: Math.max(minimum - 1, -1_000_000_000), max: Math.min(maximum + 1, 1_000_000_000) };
}

/** Required members nearly always, the others now and then. */
function arbitraryObject({ properties = {}, required = [], additionalProperties }: Schema): fc.Arbitrary<unknown> {
  const members = Object.entries(properties).map(([name, schema]) => {
    const value = arbitraryBody(schema);
    const weights = required.includes(name) ? [20, 1] : [1, 4];
    return fc
      .oneof(
        { weight: weights[0] ?? 1, arbitrary: value },
        { weight: weights[1] ?? 1, arbitrary: fc.constant(undefined) },
      )
      .map((found) => (found === undefined ? [] : [[name, found] as const]));
  });
  const more = fc.dictionary(fc.string({ maxLength: 5 }), arbitraryBody(additionalProperties ?? {}), { maxKeys: 2 });
  return fc
    .tuple(fc.tuple(...members), more)
    .map(([known, extra]) => ({ ...extra, ...Object.fromEntries(known.flat()) }));
}
