import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { NoodleError } from "../common/index.ts";
import { compileJsonSchema, JSON_GRAMMAR } from "./index.ts";
import { fitsGrammar, isValidDocument, makeText } from "./testing.ts";

/** The values that a grammar of the schema does not read; one that begins with `raw:` is a text as it is. */
function misfits(schema: unknown, ...values: readonly unknown[]): unknown[] {
  const grammar = compileJsonSchema(schema);
  return values.filter((value) => {
    const isRaw = typeof value === "string" && value.startsWith("raw:");
    return !fitsGrammar(grammar, isRaw ? value.slice(4) : JSON.stringify(value));
  });
}

/** The message of the refusal; undefined when the schema is taken. */
function refusalOf(schema: unknown): string | undefined {
  try {
    compileJsonSchema(schema);
    return undefined;
  } catch (error) {
    expect(error).toBeInstanceOf(NoodleError);
    expect((error as NoodleError).code).toBe("GRAMMAR_INVALID");
    return (error as NoodleError).message;
  }
}

describe("a grammar of a schema", () => {
  it("knows the plain types", () => {
    expect(misfits({ type: "string" }, "", 'a"\\\n\u0001ü😀', 'raw:"\\u00e4\\/"')).toEqual([]);
    expect(misfits({ type: "string" }, 1, 'raw:"', 'raw:"\\ud83d"', 'raw:"a\nb"')).toEqual([
      1,
      'raw:"',
      'raw:"\\ud83d"',
      'raw:"a\nb"',
    ]);
    expect(misfits({ type: "integer" }, 0, -7, 123456)).toEqual([]);
    expect(misfits({ type: "integer" }, 1.5, "raw:01", "raw:-", "raw:1e3")).toEqual([
      1.5,
      "raw:01",
      "raw:-",
      "raw:1e3",
    ]);
    expect(misfits({ type: "number" }, 0, -1.25, "raw:1e-5", "raw:2.5E+10")).toEqual([]);
    expect(misfits({ type: "number" }, "raw:.5", "raw:1.", "raw:+1", true)).toEqual([
      "raw:.5",
      "raw:1.",
      "raw:+1",
      true,
    ]);
    expect(misfits({ type: ["boolean", "null"] }, true, false, null)).toEqual([]);
    expect(misfits({ type: ["boolean", "null"] }, 0, "raw:nul", "null")).toEqual([0, "raw:nul", "null"]);
    expect(misfits(true, { a: [1, "x", null, { b: [] }] }, 5)).toEqual([]);
  });

  it("writes members in order and leaves optional ones out", () => {
    const schema = {
      type: "object",
      properties: { a: { type: "integer" }, b: { type: "string" }, c: { type: "boolean" } },
      required: ["b"],
    };
    expect(misfits(schema, { b: "x" }, { a: 1, b: "x" }, { b: "x", c: true }, { a: 1, b: "x", c: false })).toEqual([]);
    expect(misfits(schema, 'raw:{"a": 1, "b": "x"}', 'raw:{\n  "a": 1,\n  "b": "x"\n}')).toEqual([]);
    expect(
      misfits(schema, {}, { a: 1 }, { b: "x", a: 1 }, { a: "1", b: "x" }, { b: "x", d: 1 }, 'raw:{"b":"x",}'),
    ).toEqual([{}, { a: 1 }, { b: "x", a: 1 }, { a: "1", b: "x" }, { b: "x", d: 1 }, 'raw:{"b":"x",}']);
    expect(misfits(schema, `raw:{"b":"x"${" ".repeat(30)}}`)).toEqual([`raw:{"b":"x"${" ".repeat(30)}}`]);
    expect(misfits({ ...schema, required: [] }, {}, { c: true }, { a: 1 }, { a: 1, c: true })).toEqual([]);
    expect(misfits({ properties: { a: true }, additionalProperties: false }, {}, { a: [1] })).toEqual([]);
  });

  it("keeps additional members apart from those that are named", () => {
    const schema = {
      type: "object",
      properties: { foo: { type: "string" }, food: { type: "string" } },
      required: ["foo"],
      additionalProperties: { type: "integer" },
    };
    expect(misfits(schema, { foo: "x" }, { foo: "x", food: "y", fo: 1, fool: 2, x: 3, "": 4 })).toEqual([]);
    expect(
      misfits(schema, { foo: "x", foot: "y" }, { foo: 1 }, { foo: "x", food: 1 }, 'raw:{"foo":"x","foo":1}'),
    ).toEqual([{ foo: "x", foot: "y" }, { foo: 1 }, { foo: "x", food: 1 }, 'raw:{"foo":"x","foo":1}']);
    expect(misfits(schema, 'raw:{"foo":"x","\\u0066oo":1}')).toEqual(['raw:{"foo":"x","\\u0066oo":1}']);
    expect(misfits({ type: "object", additionalProperties: { type: "null" } }, {}, { a: null })).toEqual([]);
    expect(misfits({ type: "object", additionalProperties: false }, { a: 1 })).toEqual([{ a: 1 }]);
    expect(misfits({ type: "object", required: ["x"] }, { x: [1, {}] })).toEqual([]);
  });

  it("counts the items of arrays", () => {
    expect(misfits({ type: "array", items: { type: "integer" }, minItems: 1, maxItems: 3 }, [1], [1, 2, 3])).toEqual(
      [],
    );
    expect(
      misfits({ type: "array", items: { type: "integer" }, minItems: 1, maxItems: 3 }, [], [1, 2, 3, 4], ["a"]),
    ).toEqual([[], [1, 2, 3, 4], ["a"]]);
    expect(misfits({ type: "array", items: { type: "integer" }, maxItems: 0 }, [])).toEqual([]);
    const tuple = {
      type: "array",
      prefixItems: [{ type: "string" }, { type: "integer" }],
      items: { type: "null" },
      minItems: 1,
    };
    expect(misfits(tuple, ["a"], ["a", 1], ["a", 1, null, null])).toEqual([]);
    expect(misfits(tuple, [], [1], ["a", "b"], ["a", 1, 2])).toEqual([[], [1], ["a", "b"], ["a", 1, 2]]);
    expect(misfits({ type: "array", prefixItems: [{ type: "string" }], items: false }, ["a", "b"])).toEqual([
      ["a", "b"],
    ]);
    expect(misfits({ items: [{ type: "string" }], additionalItems: { type: "integer" } }, [], ["a", 1, 2])).toEqual([]);
  });

  it("holds strings to lengths, formats and patterns", () => {
    expect(misfits({ type: "string", minLength: 2, maxLength: 3 }, "ab", "😀é", "abc")).toEqual([]);
    expect(misfits({ type: "string", minLength: 2, maxLength: 3 }, "a", "abcd")).toEqual(["a", "abcd"]);
    expect(misfits({ type: "string", format: "date" }, "2026-11-23", "1999-02-28")).toEqual([]);
    expect(misfits({ type: "string", format: "date" }, "2026-13-01", "2026-04-31", "26-1-1")).toEqual([
      "2026-13-01",
      "2026-04-31",
      "26-1-1",
    ]);
    expect(
      misfits({ type: "string", format: "date-time" }, "2026-11-23T10:00:00Z", "2026-11-23T23:59:59.123+01:00"),
    ).toEqual([]);
    expect(misfits({ type: "string", format: "uuid" }, "123e4567-e89b-12d3-a456-426614174000")).toEqual([]);
    expect(misfits({ type: "string", format: "email" }, "a.b@example.org")).toEqual([]);
    expect(misfits({ type: "string", format: "email" }, "a.b", "@x.org", "a@b")).toEqual(["a.b", "@x.org", "a@b"]);
    expect(misfits({ type: "string", format: "ipv4" }, "192.168.0.1")).toEqual([]);
    expect(misfits({ type: "string", format: "ipv4" }, "256.1.1.1")).toEqual(["256.1.1.1"]);
    const pattern = { type: "string", pattern: '^(\\d{3}-)?[A-Z][a-z]+(, [^\\s"]{1,2})*(?:\\.|\\x41|"?)$' };
    expect(misfits(pattern, "123-Noodle", "Ab, x, y.", 'Ab"', "AbA")).toEqual([]);
    expect(misfits(pattern, "12-Noodle", "ab", "Ab, ", "Ab..")).toEqual(["12-Noodle", "ab", "Ab, ", "Ab.."]);
    expect(misfits({ type: "string", pattern: "^[\\w.-]{2,4}$", maxLength: 10 }, "a-.b")).toEqual([]);
  });

  it("has exact bounds for whole numbers", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: -3000, max: 3000 }),
        fc.integer({ min: 0, max: 4000 }),
        fc.array(fc.integer({ min: -12_000, max: 12_000 }), { minLength: 20, maxLength: 20 }),
        (minimum, width, numbers) => {
          const maximum = minimum + width;
          const grammar = compileJsonSchema({ type: "integer", minimum, maximum });
          for (const number of [...numbers, minimum, maximum, minimum - 1, maximum + 1, 0]) {
            const fits = fitsGrammar(grammar, String(number));
            expect([minimum, maximum, number, fits]).toEqual([
              minimum,
              maximum,
              number,
              number >= minimum && number <= maximum,
            ]);
          }
        },
      ),
      { seed: 7, numRuns: 60 },
    );
    expect(misfits({ type: "integer", exclusiveMinimum: 0 }, 1, 999_999_999_999_999)).toEqual([]);
    expect(misfits({ type: "integer", exclusiveMinimum: 0, exclusiveMaximum: 10 }, 0, 10, -1)).toEqual([0, 10, -1]);
    expect(misfits({ type: "number", minimum: 0, maximum: 1 }, 0, 0.5, 1, "raw:1.000")).toEqual([]);
    expect(misfits({ type: "number", minimum: 0, maximum: 1 }, 1.01, -0.1, 2, "raw:1e0")).toEqual([
      1.01,
      -0.1,
      2,
      "raw:1e0",
    ]);
    expect(misfits({ type: "number", exclusiveMinimum: 0 }, 0.001, 12.5)).toEqual([]);
    expect(misfits({ type: "number", exclusiveMinimum: 0 }, 0, "raw:0.000", -1)).toEqual([0, "raw:0.000", -1]);
    expect(misfits({ type: "number", minimum: -10, exclusiveMaximum: -2 }, -10, -2.5)).toEqual([]);
    expect(misfits({ type: "number", minimum: -10, exclusiveMaximum: -2 }, -2, -10.5, 2.5)).toEqual([-2, -10.5, 2.5]);
  });

  it("follows enums, constants, references and alternatives", () => {
    expect(misfits({ enum: ["red", "reed", 1, 12, null, { a: 1 }] }, "red", "reed", 1, 12, null, { a: 1 })).toEqual([]);
    expect(misfits({ enum: ["red", "reed", 1, 12] }, "re", "redd", 2, 121)).toEqual(["re", "redd", 2, 121]);
    expect(misfits({ const: 'x"y' }, 'x"y')).toEqual([]);
    expect(misfits({ type: "string", enum: ["a", 1] }, "a")).toEqual([]);
    expect(misfits({ type: "string", enum: ["a", 1] }, 1)).toEqual([1]);
    const tree = {
      $defs: {
        node: {
          type: "object",
          properties: { value: { type: "integer" }, children: { type: "array", items: { $ref: "#/$defs/node" } } },
          required: ["value"],
        },
      },
      $ref: "#/$defs/node",
    };
    expect(misfits(tree, { value: 1 }, { value: 1, children: [{ value: 2, children: [] }, { value: 3 }] })).toEqual([]);
    expect(misfits(tree, { children: [] }, { value: 1, children: [1] })).toEqual([
      { children: [] },
      { value: 1, children: [1] },
    ]);
    expect(misfits({ anyOf: [{ type: "string" }, { enum: ["a", 5] }] }, "a", "b", 5)).toEqual([]);
    expect(misfits({ type: "integer", nullable: true }, 1, null)).toEqual([]);
    const shapes = {
      oneOf: [
        { type: "object", properties: { kind: { const: "a" }, x: { type: "integer" } }, required: ["kind", "x"] },
        { type: "object", properties: { kind: { const: "b" }, y: { type: "string" } }, required: ["kind"] },
      ],
    };
    expect(
      misfits({ type: "array", items: shapes }, [{ kind: "a", x: 1 }, { kind: "b" }, { kind: "b", y: "" }]),
    ).toEqual([]);
    expect(misfits({ type: "array", items: shapes }, [{ kind: "a" }], [{ kind: "b", x: 1 }])).toEqual([
      [{ kind: "a" }],
      [{ kind: "b", x: 1 }],
    ]);
  });

  it("makes one schema of allOf", () => {
    const schema = {
      allOf: [
        { type: "object", properties: { a: { type: "number", minimum: 0 } }, required: ["a"] },
        { $ref: "#/$defs/b" },
        { properties: { a: { type: "integer", maximum: 9 } } },
      ],
      $defs: { b: { type: "object", properties: { b: { type: "string" } }, required: ["b"] } },
    };
    expect(misfits(schema, { a: 5, b: "x" })).toEqual([]);
    expect(misfits(schema, { a: 5 }, { a: 10, b: "x" }, { a: 1.5, b: "x" })).toEqual([
      { a: 5 },
      { a: 10, b: "x" },
      { a: 1.5, b: "x" },
    ]);
    expect(
      misfits({ $ref: "#/$defs/s", maxLength: 2, $defs: { s: { type: "string", minLength: 1 } } }, "a", "ab"),
    ).toEqual([]);
    expect(
      misfits({ $ref: "#/$defs/s", maxLength: 2, $defs: { s: { type: "string", minLength: 1 } } }, "", "abc"),
    ).toEqual(["", "abc"]);
    const base = { type: "object", properties: { a: { type: "integer" }, b: { type: "integer" } } };
    expect(
      misfits({ ...base, anyOf: [{ required: ["a"] }, { required: ["b"] }] }, { a: 1 }, { b: 1 }, { a: 1, b: 2 }),
    ).toEqual([]);
    expect(misfits({ ...base, anyOf: [{ required: ["a"] }, { required: ["b"] }] }, {})).toEqual([{}]);
  });

  it("refuses what it can't follow, naming where", () => {
    expect(refusalOf({ type: "object", properties: { a: { not: {} } } })).toContain("#/properties/a/not");
    expect(refusalOf({ type: "array", uniqueItems: true })).toContain("uniqueItems");
    expect(refusalOf({ type: "object", patternProperties: { "^a": {} } })).toContain("patternProperties");
    expect(refusalOf({ $ref: "https://example.org/schema" })).toContain("$ref");
    expect(refusalOf({ $ref: "#/$defs/missing" })).toContain("#/$defs/missing");
    expect(refusalOf({ $ref: "#" })).toBeDefined();
    expect(
      refusalOf({ $defs: { a: { $ref: "#/$defs/b" }, b: { $ref: "#/$defs/a" } }, $ref: "#/$defs/a" }),
    ).toBeDefined();
    expect(refusalOf({ allOf: [{ type: "string" }, { type: "integer" }] })).toContain("#");
    expect(refusalOf({ allOf: [{ pattern: "^a$" }, { pattern: "^b$" }], type: "string" })).toContain("pattern");
    expect(refusalOf({ oneOf: [{ type: "integer" }, { type: "number" }] })).toContain("oneOf");
    expect(refusalOf({ type: "integer", minimum: 5, maximum: 4 })).toContain("#");
    expect(refusalOf({ type: "number", minimum: 0.5 })).toContain("minimum");
    expect(refusalOf({ type: "thing" })).toContain("type");
    expect(refusalOf(false)).toBeDefined();
    expect(refusalOf([])).toBeDefined();
    expect(refusalOf({ type: "object", properties: { a: { $ref: "#" } }, required: ["a"] })).toBeDefined();
    expect(refusalOf({ type: "object", minProperties: 1 })).toContain("minProperties");
  });

  it.each([
    "a+",
    "^a",
    "^(?=a)a$",
    "^\\bx$",
    "^(a)\\1$",
    "^a**$",
    "^[b-a]$",
    "^(a",
    "^a$|^b$",
    "^\\p{L}$",
    "^a{5000}$",
    "^(a*)*$",
  ])("refuses the pattern %s", (pattern) => {
    expect(refusalOf({ type: "string", pattern })).toBeDefined();
  });

  it("stays within its limits", () => {
    let deep: unknown = { type: "integer" };
    for (let i = 0; i < 40; i++) deep = { type: "array", items: deep };
    expect(refusalOf(deep)).toContain("32");
    let deeper: unknown = 1;
    for (let i = 0; i < 20_000; i++) deeper = [deeper];
    expect(refusalOf({ const: deeper })).toBeDefined();
    expect(refusalOf({ type: "string", description: "x".repeat(70_000) })).toContain("65536");
    expect(refusalOf({ type: "array", minItems: 5000 })).toContain("2000");
    // Each level doubles what lies below it.
    const defs: Record<string, unknown> = { s0: { type: "integer" } };
    for (let i = 1; i < 30; i++) {
      const below = { $ref: `#/$defs/s${i - 1}` };
      defs[`s${i}`] = { allOf: [{ properties: { a: below, b: below } }, { properties: { a: below, b: below } }] };
    }
    expect(refusalOf({ $defs: defs, $ref: "#/$defs/s29" })).toBeDefined();
    // Two readings for each level of nesting.
    const branch = (kind: number): unknown => ({
      type: "object",
      properties: { left: { $ref: "#" }, kind: { const: kind } },
      required: ["kind"],
    });
    expect(refusalOf({ anyOf: [branch(1), branch(2)] })).toContain("ambiguous");
  });

  it("takes a hundred optional members", () => {
    const names = Array.from({ length: 100 }, (_, i) => `member-${i}`);
    const properties = Object.fromEntries(names.map((name) => [name, { type: "integer" }]));
    expect(misfits({ type: "object", properties }, {}, { "member-0": 1, "member-57": 2, "member-99": 3 })).toEqual([]);
    expect(misfits({ type: "object", properties }, { "member-57": 2, "member-1": 3 })).toEqual([
      { "member-57": 2, "member-1": 3 },
    ]);
  });
});

/** Schemas of what most people write, a few levels deep. */
const schemas = fc.letrec<{ schema: Record<string, unknown> }>((tie) => ({
  schema: fc.oneof(
    { maxDepth: 3, depthIdentifier: "schema" },
    fc.constantFrom<Record<string, unknown>>(
      { type: "boolean" },
      { type: "null" },
      { type: "string" },
      { type: "number" },
      { type: "integer" },
      {},
      { type: "string", minLength: 1, maxLength: 5 },
      { type: "string", pattern: "^[a-c]{1,3}(-[0-9]+)?$" },
      { type: "number", minimum: -1, exclusiveMaximum: 3 },
      { type: ["string", "null"] },
      { enum: ["a", "ab", 1, true, null] },
    ),
    fc.record({ minimum: fc.integer({ min: -50, max: 50 }), width: fc.nat(200) }).map(({ minimum, width }) => ({
      type: "integer",
      minimum,
      maximum: minimum + width,
    })),
    fc
      .record({
        items: tie("schema"),
        min: fc.nat(2),
        more: fc.nat(3),
        prefix: fc.array(tie("schema"), { maxLength: 2 }),
      })
      .map(({ items, min, more, prefix }) => ({
        type: "array",
        items,
        minItems: min,
        maxItems: min + more,
        ...(prefix.length > 0 ? { prefixItems: prefix } : {}),
      })),
    fc
      .record({
        properties: fc.dictionary(fc.constantFrom("a", "ab", "b", 'c"', "ü"), tie("schema"), { maxKeys: 4 }),
        required: fc.subarray(["a", "ab", "b"]),
        rest: fc.constantFrom<unknown>(undefined, false, true, { type: "integer" }),
      })
      .map(({ properties, required, rest }) => ({
        type: "object",
        properties,
        required: required.filter((key) => Object.hasOwn(properties, key)),
        ...(rest === undefined ? {} : { additionalProperties: rest }),
      })),
    fc.array(tie("schema"), { minLength: 1, maxLength: 3 }).map((anyOf) => ({ anyOf })),
    fc.tuple(tie("schema"), tie("schema")).map((allOf) => ({ allOf })),
  ),
})).schema;

/** Takes a schema or refuses it by its code. */
function compileOrRefuse(schema: unknown): string | undefined {
  try {
    return compileJsonSchema(schema);
  } catch (error) {
    expect(error).toBeInstanceOf(NoodleError);
    expect((error as NoodleError).code).toBe("GRAMMAR_INVALID");
    return undefined;
  }
}

function makeRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

describe("grammars of any schema", () => {
  it("write only documents that are valid", () => {
    let taken = 0;
    fc.assert(
      fc.property(schemas, fc.integer(), (schema, seed) => {
        const grammar = compileOrRefuse(schema);
        if (grammar === undefined) return;
        taken += 1;
        const random = makeRandom(seed);
        for (let i = 0; i < 5; i++) {
          const text = makeText(grammar, random, 60);
          expect(fitsGrammar(grammar, text)).toBe(true);
          expect([text, isValidDocument(JSON.parse(text), schema)]).toEqual([text, true]);
        }
      }),
      { seed: 11, numRuns: 300 },
    );
    expect(taken).toBeGreaterThan(150);
  });

  it("take whatever comes without harm", () => {
    fc.assert(
      fc.property(
        fc.object({
          key: fc.constantFrom(
            "type",
            "$ref",
            "anyOf",
            "allOf",
            "properties",
            "items",
            "enum",
            "const",
            "required",
            "pattern",
            "minLength",
            "a",
            "__proto__",
          ),
          maxDepth: 4,
        }),
        (schema) => {
          expect(typeof compileOrRefuse(schema)).toMatch(/^(string|undefined)$/);
        },
      ),
      { seed: 3, numRuns: 400 },
    );
  });

  it("read every document of a closed schema in the order of its members", () => {
    const value = fc.record(
      {
        a: fc.integer({ min: -99, max: 99 }),
        b: fc.string({ unit: "grapheme", maxLength: 8 }),
        c: fc.array(fc.boolean(), { maxLength: 4 }),
        d: fc.constantFrom(null, "x", 2.5),
      },
      { requiredKeys: ["b"] },
    );
    const schema = {
      type: "object",
      properties: {
        a: { type: "integer", minimum: -99, maximum: 99 },
        b: { type: "string" },
        c: { type: "array", items: { type: "boolean" }, maxItems: 4 },
        d: { anyOf: [{ type: "null" }, { type: "string" }, { type: "number" }] },
      },
      required: ["b"],
      additionalProperties: false,
    };
    const grammar = compileJsonSchema(schema);
    fc.assert(
      fc.property(value, fc.constantFrom(undefined, 1, 2), (document, indent) => {
        const { a, b, c, d } = document;
        const ordered = {
          ...(a === undefined ? {} : { a }),
          b,
          ...(c === undefined ? {} : { c }),
          ...(d === undefined ? {} : { d }),
        };
        expect(fitsGrammar(grammar, JSON.stringify(ordered, null, indent))).toBe(true);
      }),
      { seed: 5, numRuns: 150 },
    );
  });

  it("reads any JSON object for json_object, and no other value", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue({ noUnicodeString: false })), (document) => {
        // Numbers of more digits than every reader keeps are not written.
        const text = JSON.stringify(document, (_, item: unknown) =>
          typeof item === "number" ? Math.round(item % 1000) : item,
        );
        expect([text, fitsGrammar(JSON_GRAMMAR, text)]).toEqual([text, true]);
      }),
      { seed: 9, numRuns: 150 },
    );
    expect(fitsGrammar(JSON_GRAMMAR, "[]")).toBe(false);
    expect(fitsGrammar(JSON_GRAMMAR, "{}{}")).toBe(false);
  });
});
