import type { z } from "zod";
import { NoodleError } from "../common/index.ts";

/**
 * A body, or a query, as its schema says.
 *
 * @throws LIMIT_EXCEEDED for a value beyond a limit, REQUEST_INVALID for any other; both name the field, the value and
 * what was expected
 */
export function readRequest<T extends z.ZodType>(schema: T, value: unknown): z.infer<T> {
  const result = schema.safeParse(value, { reportInput: true });
  if (result.success) return result.data;
  throw toError(deepest(result.error.issues));
}

type Issue = z.core.$ZodIssue;

/** Of a union's branches, the one that got furthest says best what is wrong. */
function deepest(issues: readonly Issue[]): Issue {
  let found = issues[0] as Issue;
  while (found.code === "invalid_union" && found.errors.length > 0) {
    const parent: Issue = found;
    const branches = found.errors.map((branch) => branch[0]).filter((issue) => issue !== undefined);
    const best = branches.find((issue) => issue.code === "too_big" || limitOf(issue) !== null) ?? null;
    const further = best ?? branches.reduce((a, b) => (b.path.length > a.path.length ? b : a), branches[0] as Issue);
    if (further.path.length === 0 && best === null) return parent;
    found = { ...further, path: [...parent.path, ...further.path] };
  }
  return found;
}

function toError(issue: Issue): NoodleError {
  const param = issue.path.length === 0 ? null : issue.path.map(String).join(".").slice(0, 200);
  const name = param ?? "the body";
  const details = { param };
  if (issue.code === "too_big") {
    const most = Number(issue.maximum);
    return new NoodleError("LIMIT_EXCEEDED", `${name} has ${measure(issue.input)}, the limit is ${most}`, {
      details: { ...details, limit: most },
    });
  }
  const limit = limitOf(issue);
  if (limit !== null) {
    const text = `${name} ${issue.message}, got ${measure(issue.input)}`;
    return new NoodleError("LIMIT_EXCEEDED", text, { details: { ...details, limit } });
  }
  return new NoodleError("REQUEST_INVALID", `${name}: ${issue.message}, got ${show(issue.input)}`, { details });
}

/** Of a check of our own that is a limit. */
function limitOf(issue: Issue): number | null {
  const told: unknown = issue.code === "custom" ? issue.params?.["limit"] : undefined;
  return typeof told === "number" ? told : null;
}

function measure(value: unknown): string {
  if (typeof value === "string") return `${Buffer.byteLength(value)} bytes`;
  if (Array.isArray(value)) return `${value.length} entries`;
  if (typeof value === "object" && value !== null) return `${Object.keys(value).length} entries`;
  return `the value ${show(value)}`;
}

function show(value: unknown): string {
  if (value === undefined) return "nothing";
  if (Array.isArray(value)) return `an array of ${value.length}`;
  if (typeof value === "object" && value !== null) return "an object";
  return JSON.stringify(typeof value === "string" ? value.slice(0, 64) : value);
}
