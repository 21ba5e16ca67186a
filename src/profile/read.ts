import { NoodleError } from "../common/index.ts";
import { profileSchema } from "./schema.ts";
import type { ProfileDocument } from "./types.ts";

/** A profile of 128 layers, every role and fifty cells has 30 MiB. */
export const MAX_PROFILE_BYTES = 64 * 2 ** 20;
const EXPECTED = "noodle.profile.v1";
/** Problems that one message names. */
const MAX_PROBLEMS = 3;

/**
 * Reads a `noodle.profile.v1` document from text, bytes or parsed JSON. Keys that are not known are left out.
 *
 * @throws NoodleError `PROFILE_INVALID` for more than 64 MiB, text that is no JSON, another schema or version (naming
 *   both), and figures that cannot be: missing, negative, not finite, tables of unequal lines
 */
export function readProfile(input: unknown): ProfileDocument {
  const value = parseInput(input);
  const name = readSchemaName(value);
  if (name !== EXPECTED) {
    const found = name === null ? "names no schema" : `is ${name.slice(0, 80)}`;
    throw new NoodleError("PROFILE_INVALID", `the document ${found}; this release reads ${EXPECTED}`, {
      details: { found: name, expected: EXPECTED },
    });
  }
  const result = profileSchema.safeParse(value);
  if (result.success) return result.data;
  const { issues } = result.error;
  const problems = issues.slice(0, MAX_PROBLEMS).map(({ path, message }) => `${path.join(".")}: ${message}`);
  const more = issues.length > MAX_PROBLEMS ? `, and ${issues.length - MAX_PROBLEMS} more` : "";
  throw new NoodleError("PROFILE_INVALID", `the profile is not sound: ${problems.join("; ")}${more}`, {
    details: { problems: issues.length },
  });
}

function parseInput(input: unknown): unknown {
  if (typeof input !== "string" && !(input instanceof Uint8Array)) return input;
  const bytes = typeof input === "string" ? Buffer.byteLength(input) : input.byteLength;
  if (bytes > MAX_PROFILE_BYTES) {
    throw new NoodleError("PROFILE_INVALID", `the document has ${bytes} bytes, the limit is ${MAX_PROFILE_BYTES}`, {
      details: { bytes, limit: MAX_PROFILE_BYTES },
    });
  }
  try {
    return JSON.parse(typeof input === "string" ? input : Buffer.from(input).toString("utf8"));
  } catch (cause) {
    throw new NoodleError("PROFILE_INVALID", `the document is no JSON: ${NoodleError.from(cause).message}`, { cause });
  }
}

function readSchemaName(value: unknown): string | null {
  if (typeof value !== "object" || value === null || !("schema" in value)) return null;
  return typeof value.schema === "string" ? value.schema : null;
}
