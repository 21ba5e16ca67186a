import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { nameSchemaFile, PUBLISHED_SCHEMAS, renderSchema } from "../../scripts/schemas.ts";
import { completeProfile } from "../../src/profile/index.ts";
import { simulateProfile } from "../../src/profile/testing.ts";

const folder = new URL("../../schemas/", import.meta.url);
const readFile = (name: string): string => readFileSync(new URL(nameSchemaFile(name), folder), "utf8");
const loadSchema = (name: string): z.ZodType =>
  z.fromJSONSchema(JSON.parse(readFile(name)) as Parameters<typeof z.fromJSONSchema>[0]);

describe("schemas/", () => {
  test.each(Object.entries(PUBLISHED_SCHEMAS))("holds %s as the code has it", (name, schema) => {
    expect(readFile(name)).toBe(renderSchema(name, schema));
  });

  test("holds nothing else", () => {
    expect(readdirSync(folder).sort()).toEqual(Object.keys(PUBLISHED_SCHEMAS).map(nameSchemaFile).sort());
  });

  const profile = completeProfile(simulateProfile({ model: { like: "gpt2-124m", layers: 2 } }));

  test("a profile fits its published schema, and one with a key too many does too", () => {
    const schema = loadSchema("noodle.profile.v1");
    expect(schema.safeParse(JSON.parse(JSON.stringify(profile))).error).toBeUndefined();
    expect(schema.safeParse({ ...profile, later: 1 }).success).toBe(true);
  });

  test("a profile without one of its parts, or with a negative time, does not fit", () => {
    const schema = loadSchema("noodle.profile.v1");
    expect(schema.safeParse({ ...profile, cells: undefined }).success).toBe(false);
    const [first] = profile.units;
    expect(schema.safeParse({ ...profile, units: [{ ...first, p50_ms: -1 }] }).success).toBe(false);
  });

  test("a cost model fits its published schema, a profile does not", () => {
    const schema = loadSchema("noodle.cost_model.v1");
    expect(schema.safeParse(profile.cost_model).error).toBeUndefined();
    expect(schema.safeParse(profile).success).toBe(false);
  });
});
