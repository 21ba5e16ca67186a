import { open } from "node:fs/promises";
import { NoodleError } from "../common/index.ts";
import { isObject } from "./api-client.ts";
import { type FileLine, readFileLines } from "./file-lines.ts";

/** A line of a batch: a request, or what keeps it from being one. */
export interface BatchEntry {
  /** Of the file, from 1. */
  readonly line: number;
  /** null where the line has none that can be read. */
  readonly customId: string | null;
  /** null for a request that can be sent. */
  readonly problem: string | null;
  readonly offset: number;
  readonly sizeBytes: number;
}

/** A request as its line has it. */
export interface BatchRequest {
  readonly customId: string;
  /** Without the slash before it. */
  readonly path: string;
  readonly body: Readonly<Record<string, unknown>>;
}

type ParsedLine = BatchRequest | { readonly customId: string | null; readonly problem: string };

const PATHS = ["/v1/chat/completions", "/v1/completions", "/v1/embeddings"];
/** Longer than any body that is read. */
export const MAX_LINE_BYTES = 16 * 2 ** 20;
const MAX_REQUESTS = 1_000_000;
const MAX_CUSTOM_ID_CHARS = 512;
const SHOWN_DUPLICATES = 5;

/**
 * Looks through a batch file once, and remembers where its requests are.
 *
 * @throws NoodleError `REQUEST_INVALID` naming the lines where a custom_id comes twice; `LIMIT_EXCEEDED`,
 * `FILE_NOT_FOUND`, `FILE_UNREADABLE`
 */
export async function scanBatch(path: string): Promise<readonly BatchEntry[]> {
  const entries: BatchEntry[] = [];
  const lines = new Map<string, number[]>();
  for await (const line of readFileLines(path, MAX_LINE_BYTES)) {
    if (line.bytes !== null && line.bytes.toString("latin1").trim() === "") continue;
    if (entries.length >= MAX_REQUESTS) {
      throw new NoodleError("LIMIT_EXCEEDED", `${path} has more than ${MAX_REQUESTS} requests: split it`);
    }
    const parsed = parseLine(line);
    const { customId } = parsed;
    if (customId !== null) lines.set(customId, [...(lines.get(customId) ?? []), line.number]);
    const { number, offset, sizeBytes } = line;
    entries.push({
      line: number,
      customId,
      problem: "problem" in parsed ? parsed.problem : null,
      offset,
      sizeBytes,
    });
  }
  refuseDuplicates(path, lines);
  return entries;
}

/** Reads requests again that `scanBatch` has found. */
export class BatchReader {
  readonly #file: Awaited<ReturnType<typeof open>>;
  readonly #path: string;

  /** @throws NoodleError `FILE_NOT_FOUND`, `FILE_UNREADABLE` */
  static async open(path: string): Promise<BatchReader> {
    try {
      return new BatchReader(await open(path), path);
    } catch (error) {
      throw NoodleError.from(error, "FILE_UNREADABLE");
    }
  }

  private constructor(file: Awaited<ReturnType<typeof open>>, path: string) {
    this.#file = file;
    this.#path = path;
  }

  /** @throws NoodleError `FILE_UNREADABLE` when the file is another one by now */
  async read({ line, customId, offset, sizeBytes }: BatchEntry): Promise<BatchRequest> {
    const bytes = Buffer.alloc(sizeBytes);
    const { bytesRead } = await this.#file.read(bytes, 0, sizeBytes, offset);
    const parsed = parseLine({ number: line, offset, sizeBytes, bytes: bytes.subarray(0, bytesRead), isEnded: true });
    if ("problem" in parsed || parsed.customId !== customId) {
      throw new NoodleError(
        "FILE_UNREADABLE",
        `${this.#path} was changed while it was read: line ${line} is another one`,
      );
    }
    return parsed;
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

function parseLine({ number, bytes }: FileLine): ParsedLine {
  const wrong = (text: string, customId: string | null = null): ParsedLine => ({
    customId,
    problem: `line ${number}: ${text}`,
  });
  if (bytes === null) return wrong(`longer than ${MAX_LINE_BYTES} bytes`);
  let value: unknown;
  try {
    // Takes a byte order mark away, and refuses what is not UTF-8.
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    return wrong(error instanceof SyntaxError ? "not JSON" : "not UTF-8");
  }
  if (!isObject(value)) return wrong("not a JSON object");
  const { custom_id: customId, method, url, body } = value;
  if (typeof customId !== "string" || customId === "") return wrong("custom_id is not a text");
  if (customId.length > MAX_CUSTOM_ID_CHARS) return wrong(`custom_id is longer than ${MAX_CUSTOM_ID_CHARS} characters`);
  if (method !== "POST") return wrong('method is not "POST"', customId);
  if (typeof url !== "string" || !PATHS.includes(url)) return wrong(`url is none of ${PATHS.join(", ")}`, customId);
  if (!isObject(body)) return wrong("body is not an object", customId);
  if (body["stream"] === true) return wrong("body.stream is true, a batch has whole answers", customId);
  return { customId, path: url.slice(1), body };
}

function refuseDuplicates(path: string, lines: ReadonlyMap<string, readonly number[]>): void {
  const twice = [...lines].filter(([, numbers]) => numbers.length > 1);
  if (twice.length === 0) return;
  const shown = twice
    .slice(0, SHOWN_DUPLICATES)
    .map(([customId, numbers]) => `${JSON.stringify(customId)} on lines ${numbers.join(", ")}`);
  const more = twice.length > shown.length ? ` and ${twice.length - shown.length} more` : "";
  throw new NoodleError("REQUEST_INVALID", `${path}: a custom_id may come once: ${shown.join("; ")}${more}`);
}
