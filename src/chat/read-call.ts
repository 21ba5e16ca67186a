export interface ParsedToolCall {
  readonly name: string;
  /** A JSON object as text. */
  readonly arguments: string;
}

/** The calls that a JSON text holds, one or a list. @returns undefined when it is anything else */
export function readCalls(text: string, isTool: (name: string) => boolean): ParsedToolCall[] | undefined {
  const value = parseJson(text);
  const list: readonly unknown[] = Array.isArray(value) ? (value as unknown[]) : [value];
  const calls = list.map((item) => readCall(item, isTool));
  return calls.length > 0 && calls.every((call) => call !== undefined) ? calls : undefined;
}

/** @returns undefined for what is no object */
export function readArguments(value: unknown): string | undefined {
  const object = typeof value === "string" ? parseJson(value) : (value ?? {});
  return typeof object === "object" && object !== null && !Array.isArray(object) ? JSON.stringify(object) : undefined;
}

export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function readCall(value: unknown, isTool: (name: string) => boolean): ParsedToolCall | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const fields = value as Readonly<Record<string, unknown>>;
  const inner = fields["function"];
  if (typeof inner === "object" && inner !== null) return readCall(inner, isTool);
  const name = fields["name"] ?? inner;
  const args = readArguments(fields["arguments"] ?? fields["parameters"]);
  if (typeof name !== "string" || args === undefined || !isTool(name)) return undefined;
  return { name, arguments: args };
}
