import { type LogHeader, type LogRow, ROW_SCHEMAS } from "./schemas.ts";
import { LOG_STREAMS, type LogStream, nameSchema } from "./streams.ts";

/** What a line turned out to be. */
export type ParsedLine =
  | { readonly type: "row"; readonly row: LogRow }
  | { readonly type: "header"; readonly header: LogHeader }
  | { readonly type: "unknown-schema"; readonly schema: string }
  | { readonly type: "bad"; readonly reason: string };

const STREAM_OF_SCHEMA = new Map<unknown, LogStream>(LOG_STREAMS.map((stream) => [nameSchema(stream), stream]));
const MAX_REASON_CHARS = 200;
/** A hostile line nests as deep as it is long, and what prints or walks it later would overflow its stack. */
const MAX_DETAIL_DEPTH = 32;

/** Reads one line and holds it to its stream's schema. Never throws. */
export function parseRow(line: string): ParsedLine {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return { type: "bad", reason: "not JSON" };
  }
  if (typeof value !== "object" || value === null || !("schema" in value) || typeof value.schema !== "string") {
    return { type: "bad", reason: "no object with a schema" };
  }
  const stream = STREAM_OF_SCHEMA.get(value.schema);
  if (stream === undefined) return { type: "unknown-schema", schema: value.schema.slice(0, MAX_REASON_CHARS) };
  const checked = ROW_SCHEMAS[stream].safeParse(value);
  if (!checked.success) {
    const [issue] = checked.error.issues;
    const place = issue === undefined || issue.path.length === 0 ? "" : ` at ${issue.path.map(String).join(".")}`;
    const reason = `no row of ${nameSchema(stream)}${place}: ${issue?.message ?? "invalid"}`;
    return { type: "bad", reason: reason.slice(0, MAX_REASON_CHARS) };
  }
  const row = value as LogRow | LogHeader;
  if (row.event_type === "header") return { type: "header", header: row };
  if (row.event_type === "event" && !isShallow(row.details, MAX_DETAIL_DEPTH)) {
    return { type: "bad", reason: `details are nested deeper than ${MAX_DETAIL_DEPTH}` };
  }
  return { type: "row", row };
}

function isShallow(value: unknown, depth: number): boolean {
  if (typeof value !== "object" || value === null) return true;
  return depth > 0 && Object.values(value).every((inner) => isShallow(inner, depth - 1));
}
