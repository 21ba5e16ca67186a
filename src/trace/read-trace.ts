import { NoodleError } from "../common/index.ts";
import { type RequestTrace, RequestTraceSchema } from "./schema.ts";

/** Longest document that is read. */
export const MAX_TRACE_CHARS = 256 * 1024 * 1024;

/** @throws TRACE_INVALID naming what is wrong, and where */
export function readRequestTrace(json: string): RequestTrace {
  if (json.length > MAX_TRACE_CHARS) {
    throw new NoodleError("TRACE_INVALID", `a trace of ${json.length} characters, the limit is ${MAX_TRACE_CHARS}`);
  }
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch (cause) {
    throw new NoodleError("TRACE_INVALID", "the trace is not JSON: it is damaged or cut off", { cause });
  }
  const schema = typeof value === "object" && value !== null && "schema" in value ? value.schema : undefined;
  if (schema !== "noodle.trace.v1") {
    const named = typeof schema === "string" ? `"${schema.slice(0, 64)}"` : "nothing";
    throw new NoodleError("TRACE_INVALID", `the document's schema is ${named}, this release reads noodle.trace.v1`);
  }
  const parsed = RequestTraceSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const where = issue === undefined ? "" : `${issue.path.join(".")}: ${issue.message}`;
  throw new NoodleError("TRACE_INVALID", `the trace is no noodle.trace.v1: ${where}`);
}
