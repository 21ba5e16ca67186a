import { z } from "zod";
import { NoodleError } from "../common/index.ts";
import type { SimRequest, Workload } from "./types.ts";

export const WORKLOAD_LIMITS = {
  lineChars: 2 ** 20,
  requests: 2_000_000,
  /** Of a line's prompt or answer. */
  tokens: 2 ** 30,
  hashIds: 65_536,
  /** Of what was wrong, so many lines are named. */
  named: 100,
} as const;

const tokens = z.int().min(1).max(WORKLOAD_LIMITS.tokens);

/** A line in the format of the Mooncake traces; keys that others add are let be. */
const lineSchema = z.object({
  /** Milliseconds. */
  timestamp: z.number().min(0).max(1e12),
  input_length: tokens,
  output_length: tokens,
  hash_ids: z.array(z.int().min(0)).max(WORKLOAD_LIMITS.hashIds).optional(),
});

export interface MalformedLine {
  /** From 1. */
  readonly line: number;
  readonly reason: string;
}

/** A workload file line by line: a line that cannot be read costs nothing but itself. */
export class WorkloadReader {
  /** The first of the lines that could not be read. */
  readonly malformed: MalformedLine[] = [];
  malformedCount = 0;
  readonly #requests: SimRequest[] = [];
  #line = 0;
  #rest = "";
  /** The line that is being read is longer than any request and is skipped up to its end. */
  #skipping = false;

  /** Takes the next part of the text. @throws WORKLOAD_INVALID for more requests than can be simulated */
  push(text: string): void {
    const parts = text.split("\n");
    for (const [index, part] of parts.entries()) {
      if (this.#rest.length + part.length > WORKLOAD_LIMITS.lineChars) {
        this.#skipping = true;
        this.#rest = "";
      } else if (!this.#skipping) this.#rest += part;
      if (index < parts.length - 1) this.#endLine();
    }
  }

  /** @throws WORKLOAD_INVALID when there is no request in it */
  finish(): Workload {
    if (this.#rest !== "" || this.#skipping) this.#endLine();
    if (this.#requests.length === 0) {
      const [first] = this.malformed;
      const why = first === undefined ? "" : `: line ${first.line}: ${first.reason}`;
      throw new NoodleError("WORKLOAD_INVALID", `the workload holds no request${why}`);
    }
    const requests = this.#requests.sort((a, b) => a.atMs - b.atMs);
    return { loop: "open", requests };
  }

  #endLine(): void {
    this.#line += 1;
    const text = this.#rest;
    const skipped = this.#skipping;
    this.#rest = "";
    this.#skipping = false;
    if (skipped) return this.#refuse(`longer than ${WORKLOAD_LIMITS.lineChars} characters`);
    if (text.trim() === "") return;
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      return this.#refuse("not JSON");
    }
    const parsed = lineSchema.safeParse(value);
    if (!parsed.success) {
      const [issue] = parsed.error.issues;
      return this.#refuse(`${issue?.path.join(".") || "line"}: ${issue?.message ?? "not a request"}`);
    }
    if (this.#requests.length >= WORKLOAD_LIMITS.requests)
      throw new NoodleError("WORKLOAD_INVALID", `line ${this.#line}: more than ${WORKLOAD_LIMITS.requests} requests`);
    const { timestamp, input_length, output_length, hash_ids } = parsed.data;
    this.#requests.push({
      atMs: timestamp,
      promptTokens: input_length,
      genTokens: output_length,
      client: "trace",
      ...(hash_ids === undefined ? {} : { blocks: hash_ids }),
    });
  }

  #refuse(reason: string): void {
    this.malformedCount += 1;
    if (this.malformed.length < WORKLOAD_LIMITS.named) this.malformed.push({ line: this.#line, reason });
  }
}
