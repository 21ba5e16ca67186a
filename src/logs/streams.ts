/** The streams of a log. Each is a schema, `noodle.<stream>.v1`, and a chain of files for each producer. */
export const LOG_STREAMS = ["request", "step", "layer", "link", "event", "plan", "node"] as const;

export type LogStream = (typeof LOG_STREAMS)[number];

/** A row is one line; longer ones are not written, and not read either. Keeps a reader's memory flat on any bytes. */
export const MAX_LINE_BYTES: number = 2 ** 20;

const FILE_NAME = new RegExp(`^(.+)\\.(${LOG_STREAMS.join("|")})\\.(\\d{6,15})\\.jsonl$`);
const INDEX_DIGITS = 6;
const MAX_PRODUCER_CHARS = 100;

export interface LogFileName {
  readonly producer: string;
  readonly stream: LogStream;
  readonly index: number;
}

export function nameSchema<S extends LogStream>(stream: S): `noodle.${S}.v1` {
  return `noodle.${stream}.v1`;
}

/** `coordinator.step.000000.jsonl`. */
export function formatLogFileName(name: LogFileName): string {
  return `${name.producer}.${name.stream}.${String(name.index).padStart(INDEX_DIGITS, "0")}.jsonl`;
}

/** Null when it is no name of a log file. */
export function parseLogFileName(name: string): LogFileName | null {
  const match = FILE_NAME.exec(name);
  if (match === null) return null;
  return { producer: match[1] ?? "", stream: match[2] as LogStream, index: Number(match[3]) };
}

/** What a producer is called in file names: nothing that a path or the name's own dots could be confused by. */
export function cleanProducerName(producerId: string): string {
  return producerId.replaceAll(/[^A-Za-z0-9_-]+/g, "-").slice(0, MAX_PRODUCER_CHARS) || "-";
}
