import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";
import type { EventRecord, StepRecord } from "../observe/index.ts";
import type { LogClock } from "./clock.ts";
import { type LogFileSystem, SYSTEM_LOG_FILES } from "./log-files.ts";
import { LogWriter } from "./log-writer.ts";
import type { LogWriterOptions } from "./log-options.ts";

const root = mkdtempSync(join(tmpdir(), "noodle-logs-"));
let folders = 0;

afterAll(() => {
  rmSync(root, { recursive: true, force: true });
});

/** A folder that is there until the end of the test file. */
export function makeFolder(): string {
  folders += 1;
  return mkdtempSync(join(root, `${folders}-`));
}

/** Moves on by a microsecond whenever it is looked at. */
export function makeClock(): LogClock {
  let monoNs = 5_000_000_000_000;
  return {
    monoNs: () => {
      monoNs += 1000;
      return monoNs;
    },
    unixMs: () => 1_790_000_000_000,
  };
}

/** The disk of the machine, which can be made to fail as disks do. */
export class FaultyFiles implements LogFileSystem {
  /** Bytes that still fit; what comes beyond is written in part and refused with `ENOSPC`. */
  roomBytes = Number.POSITIVE_INFINITY;
  /** Every write fails with this code. */
  errno: string | null = null;
  /** Every write waits for this first. */
  hold: Promise<void> | null = null;

  list(directory: string): Promise<readonly string[]> {
    return SYSTEM_LOG_FILES.list(directory);
  }

  async create(directory: string, name: string): ReturnType<LogFileSystem["create"]> {
    const file = await SYSTEM_LOG_FILES.create(directory, name);
    return {
      truncate: (bytes) => file.truncate(bytes),
      close: () => file.close(),
      write: async (bytes, position) => {
        await this.hold;
        if (this.errno !== null) throw makeErrno(this.errno);
        const taken = Math.min(bytes.length, this.roomBytes);
        await file.write(bytes.subarray(0, taken), position);
        this.roomBytes -= taken;
        if (taken < bytes.length) throw makeErrno("ENOSPC");
      },
    };
  }

  remove(directory: string, name: string): Promise<void> {
    return SYSTEM_LOG_FILES.remove(directory, name);
  }
}

function makeErrno(code: string): Error {
  return Object.assign(new Error(`${code}: by the test`), { code });
}

export interface TestWriter {
  readonly writer: LogWriter;
  readonly directory: string;
  readonly problems: EventRecord[];
}

/** A writer that waits for `flush`, unless the options say otherwise. */
export async function openWriter(options: Partial<LogWriterOptions> = {}): Promise<TestWriter> {
  const directory = options.directory ?? makeFolder();
  const problems: EventRecord[] = [];
  const writer = await LogWriter.create({
    directory,
    producerId: "coordinator",
    runId: "run-1",
    facts: { noodlecoreVersion: "0.0.0", engineBuild: "b1", engineVariant: null },
    flushMs: 60_000,
    retryMs: 60_000,
    clock: makeClock(),
    onProblem: (event) => problems.push(event),
    ...options,
  });
  return { writer, directory, problems };
}

export function makeStep(stepId: number): StepRecord {
  return {
    stepId,
    epoch: 1,
    requestIds: ["r1"],
    sampledRequestIds: ["r1"],
    phase: "decode",
    rows: 1,
    contextTokens: 10 + stepId,
    sentMonoNs: 1000 * stepId,
    receivedMonoNs: 1000 * stepId + 900,
    level: "step",
    stages: [
      { stage: 0, nodeId: "w1", queueNs: 1, computeNs: 300, serializeNs: 2, hopNs: null, bytesIn: 20 },
      { stage: 1, nodeId: "w2", queueNs: 3, computeNs: 400, serializeNs: 0, hopNs: 55, bytesIn: 2000 },
    ],
  };
}

export function makeEvent(message: string, details: Readonly<Record<string, unknown>> = {}): EventRecord {
  return { name: "worker.joined", severity: "info", nodeId: "w1", message, details };
}

/** Every line of every file, parsed, by file name. */
export function readFolder(directory: string): Map<string, Record<string, unknown>[]> {
  const names = readdirSync(directory).sort();
  return new Map(
    names.map((name) => {
      const lines = readFileSync(join(directory, name), "utf8").split("\n");
      return [name, lines.slice(0, -1).map((line) => JSON.parse(line) as Record<string, unknown>)];
    }),
  );
}
