import { NoodleError } from "../common/index.ts";
import type { ApiLimits } from "./limits.ts";

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COLON = 0x3a;

/**
 * Reads a body as JSON. Depth, containers and members are counted on the bytes before anything is built of them, and bytes that are
 * no UTF-8 are refused instead of replaced.
 *
 * @throws REQUEST_INVALID, LIMIT_EXCEEDED
 */
export function readJsonBody(bytes: Uint8Array, limits: Pick<ApiLimits, "jsonDepth" | "jsonMembers">): unknown {
  if (bytes.length === 0) throw new NoodleError("REQUEST_INVALID", "the body is empty, a JSON object was expected");
  measureJson(bytes, limits);
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new NoodleError("REQUEST_INVALID", "the body is not valid UTF-8", { cause });
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new NoodleError("REQUEST_INVALID", `the body is not valid JSON: ${why.slice(0, 200)}`, { cause });
  }
}

function measureJson(bytes: Uint8Array, limits: Pick<ApiLimits, "jsonDepth" | "jsonMembers">): void {
  let depth = 0;
  let members = 0;
  let inString = false;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at];
    if (inString) {
      if (byte === BACKSLASH) at += 1;
      else if (byte === QUOTE) inString = false;
    } else if (byte === QUOTE) {
      inString = true;
    } else if (byte === 0x7d || byte === 0x5d) {
      depth -= 1;
    } else if (byte === COLON || byte === 0x7b || byte === 0x5b) {
      members += 1;
      if (byte !== COLON) depth += 1;
      if (depth > limits.jsonDepth) throw exceeded("is nested deeper than", limits.jsonDepth, "levels");
      if (members > limits.jsonMembers)
        throw exceeded("has more than", limits.jsonMembers, "objects, arrays and members");
    }
  }
}

function exceeded(what: string, limit: number, unit: string): NoodleError {
  return new NoodleError("LIMIT_EXCEEDED", `the JSON of the body ${what} ${limit} ${unit}`, { details: { limit } });
}
