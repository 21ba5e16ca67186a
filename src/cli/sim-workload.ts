import { NoodleError } from "../common/index.ts";
import { generateWorkload, type MalformedLine, type TokenCount, type Workload, WorkloadReader } from "../sim/index.ts";
import { readFileLines } from "./file-lines.ts";
import { parseInteger } from "./quantities.ts";

/** What says which requests come. */
export interface WorkloadOptions {
  readonly workload?: string;
  readonly streams?: number;
  readonly rate?: number;
  readonly requests?: number;
  readonly promptTokens?: TokenCount;
  readonly genTokens?: TokenCount;
  readonly seed: number;
}

export interface ReadWorkload {
  readonly workload: Workload;
  /** Where it comes from, in words. */
  readonly words: string;
  readonly malformed: readonly MalformedLine[];
  readonly malformedCount: number;
}

const REQUESTS = 200;
const PROMPT: TokenCount = { type: "fixed", tokens: 128 };
const GENERATED: TokenCount = { type: "fixed", tokens: 64 };
const MOST_TOKENS = 2 ** 24;
const LINE_BYTES = 2 ** 20;

/** Reads `128`, or `64..256` for all lengths between. @throws USAGE naming `option` */
export function parseTokenCount(text: string, option: string): TokenCount {
  const [first = "", second] = text.split("..");
  const min = parseInteger(first, option, 1, MOST_TOKENS);
  if (second === undefined) return { type: "fixed", tokens: min };
  return { type: "uniform", min, max: parseInteger(second, option, min, MOST_TOKENS) };
}

/**
 * Reads the workload's file, or makes one up.
 *
 * @param streams of the plan, where nothing else is said
 * @throws NoodleError `USAGE`, `WORKLOAD_INVALID`, of a file that can't be read
 */
export async function readWorkload(options: WorkloadOptions, streams: number): Promise<ReadWorkload> {
  const { workload: path, rate, requests, seed } = options;
  if (path !== undefined) {
    const others = [options.promptTokens, options.genTokens, rate];
    if (others.some((other) => other !== undefined))
      throw new NoodleError("USAGE", "--workload says when requests come and how long they are: leave the others out");
    return await readWorkloadFile(path, requests);
  }
  if (rate !== undefined && options.streams !== undefined)
    throw new NoodleError("USAGE", "give --streams (so many at a time) or --rate (so many a second), not both");
  const prompt = options.promptTokens ?? PROMPT;
  const generated = options.genTokens ?? GENERATED;
  const count = requests ?? REQUESTS;
  const workload = generateWorkload({
    requests: count,
    prompt,
    generated,
    arrivals: rate === undefined ? { type: "closed", streams } : { type: "poisson", perSecond: rate },
    seed,
  });
  const how = rate === undefined ? `${streams} at a time` : `${rate} a second at random`;
  const words = `${count} requests of ${sayTokens(prompt)} + ${sayTokens(generated)} tokens, ${how}`;
  return { workload, words, malformed: [], malformedCount: 0 };
}

async function readWorkloadFile(path: string, most: number | undefined): Promise<ReadWorkload> {
  const reader = new WorkloadReader();
  for await (const { bytes } of readFileLines(path, LINE_BYTES)) {
    // A line that is too long is told from an empty one by what stands in its place.
    reader.push(bytes === null ? "(too long)\n" : `${bytes.toString("utf8")}\n`);
  }
  const all = reader.finish();
  const workload = most === undefined ? all : { ...all, requests: all.requests.slice(0, most) };
  const { malformed, malformedCount } = reader;
  return { workload, words: `${workload.requests.length} requests of ${path}`, malformed, malformedCount };
}

function sayTokens(count: TokenCount): string {
  if (count.type === "fixed") return String(count.tokens);
  return count.type === "uniform" ? `${count.min}..${count.max}` : `about ${count.median}`;
}
