import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { must } from "../common/index.ts";
import { foldLogs } from "./fold-logs.ts";
import { findLogChains } from "./log-chains.ts";
import { LogObserver } from "./log-observer.ts";
import { mergeLogs } from "./merge-logs.ts";
import { type BadLine, readLog } from "./read-log.ts";
import type { LogHeader, LogRow } from "./schemas.ts";
import { MAX_LINE_BYTES } from "./streams.ts";
import { makeClock, makeEvent, makeFolder, makeStep, openWriter } from "./testing.ts";

const ROWS = 8;
/** A sound file: a header and eight steps. */
let sound: Buffer;
let lines: readonly string[];

beforeAll(async () => {
  const { writer, directory } = await openWriter();
  const observer = new LogObserver(writer);
  for (let id = 0; id < ROWS; id += 1) observer.onStep(makeStep(id));
  await writer.close();
  sound = readFileSync(join(directory, "coordinator.step.000000.jsonl"));
  lines = sound.toString().split("\n").slice(0, -1);
});

interface Read {
  readonly rows: readonly LogRow[];
  readonly bad: readonly BadLine[];
  readonly headers: readonly (LogHeader | null)[];
}

async function read(bytes: Uint8Array | string): Promise<Read> {
  const path = join(makeFolder(), "any.jsonl");
  writeFileSync(path, bytes);
  return readPath(path);
}

async function readPath(path: string): Promise<Read> {
  const rows: LogRow[] = [];
  const bad: BadLine[] = [];
  const headers: (LogHeader | null)[] = [];
  const options = {
    onBad: (line: BadLine) => bad.push(line),
    onHeader: (header: LogHeader | null) => headers.push(header),
  };
  for await (const row of readLog(path, options)) rows.push(row);
  return { rows, bad, headers };
}

function seqs({ rows }: Read): number[] {
  return rows.map((row) => row.seq);
}

describe("reading a log file", () => {
  test("gives its header and its rows", async () => {
    const found = await read(sound);
    expect(seqs(found)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(found.bad).toEqual([]);
    expect(found.headers).toMatchObject([{ stream: "step", file_index: 0 }]);
  });

  test("gives nothing for an empty file", async () => {
    expect(await read("")).toEqual({ rows: [], bad: [], headers: [] });
  });

  test("passes over corrupt rows and names their lines", async () => {
    const found = await read(
      [
        lines[0],
        "",
        lines[1],
        "{",
        "[1]",
        lines[2],
        '{"schema":7}',
        lines[3]?.replace('"rows":1', '"rows":-1'),
        lines[4],
        "",
      ].join("\n"),
    );
    expect(seqs(found)).toEqual([0, 1, 3]);
    expect(found.bad.map(({ line }) => line)).toEqual([2, 4, 5, 7, 8]);
    expect(found.bad.at(-1)?.reason).toContain("rows");
  });

  test("takes a row with a key too many or one too few for a bad one", async () => {
    const found = await read(
      [lines[0], lines[1]?.replace("{", '{"more":1,'), lines[2]?.replace('"phase":"decode",', ""), lines[3]].join("\n"),
    );
    expect(seqs(found)).toEqual([2]);
    expect(found.bad.map(({ line }) => line)).toEqual([2, 3]);
  });

  test("counts a half-written last line once, and takes a whole one without its line break", async () => {
    expect(seqs(await read(sound.subarray(0, -1)))).toHaveLength(ROWS);
    const half = await read(sound.subarray(0, -20));
    expect(seqs(half)).toHaveLength(ROWS - 1);
    expect(half.bad).toMatchObject([{ line: ROWS + 1, reason: "half-written" }]);
  });

  test("passes over a line that is longer than a line may be, in any place and of any length", async () => {
    const long = "x".repeat(3 * MAX_LINE_BYTES);
    const found = await read(
      `${lines[0]}\n${long}\n${lines[1]}\n${"é".repeat(MAX_LINE_BYTES * 0.6)}\n${lines[2]}\n${long}`,
    );
    expect(seqs(found)).toEqual([0, 1]);
    expect(found.bad).toMatchObject([
      { line: 2, reason: "longer than 1 MiB" },
      { line: 4, reason: "longer than 1 MiB" },
      { line: 6, reason: "longer than 1 MiB" },
    ]);
  });

  test("reads a line of exactly the longest length", async () => {
    const { writer, directory } = await openWriter();
    new LogObserver(writer).onEvent(makeEvent("x"));
    await writer.close();
    const path = join(directory, "coordinator.event.000000.jsonl");
    const [header, row] = readFileSync(path, "utf8").split("\n");
    const room = MAX_LINE_BYTES - Buffer.byteLength(must(row, "row"));
    const fill = (chars: number): string =>
      must(row, "row").replace('"message":"x"', `"message":"x${"y".repeat(chars)}"`);
    const found = await read(`${header}\n${fill(room)}\n${fill(room + 1)}\n`);
    expect(found.rows).toHaveLength(1);
    expect(found.bad).toMatchObject([{ line: 3 }]);
  });

  test("passes over a line that is not UTF-8", async () => {
    const found = await read(
      Buffer.concat([
        Buffer.from(`${lines[0]}\n${lines[1]}\n`),
        Buffer.of(0xff, 0xfe, 0x0a),
        Buffer.from(`${lines[2]}\n`),
      ]),
    );
    expect(seqs(found)).toEqual([0, 1]);
    expect(found.bad).toMatchObject([{ line: 3, reason: "not UTF-8" }]);
  });

  test("refuses a file that begins with a schema that it does not know", async () => {
    const newer = sound.toString().replaceAll("noodle.step.v1", "noodle.step.v2");
    await expect(read(newer)).rejects.toMatchObject({ code: "LOG_VERSION" });
    await expect(read(`garbage\n${newer}`)).rejects.toMatchObject({ code: "LOG_VERSION" });
    await expect(read('{"schema":"noodle.profile.v1"}')).rejects.toMatchObject({ code: "LOG_VERSION" });
  });

  test("takes a row of an unknown version among others for a bad one", async () => {
    const found = await read([lines[0], lines[1], lines[2]?.replace("step.v1", "step.v2"), lines[3]].join("\n"));
    expect(seqs(found)).toEqual([0, 2]);
    expect(found.bad).toMatchObject([{ line: 3 }]);
  });

  test("reads rows without a header, and says that there is none", async () => {
    const found = await read(lines.slice(1).join("\n"));
    expect(seqs(found)).toHaveLength(ROWS);
    expect(found.headers).toEqual([null]);
  });

  test("reads files that were put behind one another", async () => {
    const found = await read(Buffer.concat([sound, sound]));
    expect(seqs(found)).toHaveLength(2 * ROWS);
    expect(found.headers).toHaveLength(2);
  });

  test("is not led astray by depth or by names that objects have", async () => {
    const { writer, directory } = await openWriter();
    new LogObserver(writer).onEvent(makeEvent("x", { mark: 1 }));
    await writer.close();
    const [header, row] = readFileSync(join(directory, "coordinator.event.000000.jsonl"), "utf8").split("\n");
    const deep = must(row, "row").replace('"mark":1', `"mark":${"[".repeat(200_000)}${"]".repeat(200_000)}`);
    const proto = must(row, "row").replace('"mark":1', '"__proto__":{"polluted":true}');
    const found = await read([header, deep, proto, "[".repeat(500_000), row].join("\n"));
    expect(found.bad.map(({ line }) => line)).toEqual([2, 4]);
    expect(found.rows).toHaveLength(2);
    expect({}).not.toHaveProperty("polluted");
  });

  test("stops when it is told to", async () => {
    const path = join(makeFolder(), "any.jsonl");
    writeFileSync(path, sound);
    const signal = AbortSignal.abort(new Error("enough"));
    await expect(readLog(path, { signal }).next()).rejects.toThrow("enough");
  });

  test("names a path that is not there, or is a folder", async () => {
    await expect(readPath(join(makeFolder(), "none.jsonl"))).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });
    await expect(readPath(makeFolder())).rejects.toMatchObject({ code: "FILE_UNREADABLE" });
  });
});

describe("any bytes", () => {
  test("never break the reader, and a file cut anywhere gives the rows before the cut", async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(sound.length), async (end) => {
        const found = await read(sound.subarray(0, end));
        // Without its line break the last line is as good as with it.
        const whole = Buffer.concat([sound.subarray(0, end), Buffer.from(sound[end] === 0x0a ? "\n" : "")]);
        const breaks = whole.filter((byte) => byte === 0x0a).length;
        expect(found.rows).toHaveLength(Math.max(0, breaks - 1));
        expect(found.bad.length).toBe(end > 0 && whole.at(-1) !== 0x0a ? 1 : 0);
      }),
      { numRuns: 60, seed: 31 },
    );
  });

  test("between good rows cost none of them", async () => {
    const garbage = fc.oneof(
      fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes.filter((byte) => byte !== 0x0a))),
      fc.json().map((text) => Buffer.from(text)),
      fc.string({ unit: "binary" }).map((text) => Buffer.from(text.replaceAll("\n", ""))),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(garbage, fc.boolean()), { maxLength: 20 }), async (pieces) => {
        const parts = [Buffer.from(`${lines[0]}\n`)];
        const expected: number[] = [];
        let line = 2;
        const bad: number[] = [];
        for (const [index, [bytes, isGood]] of pieces.entries()) {
          if (isGood) {
            parts.push(Buffer.from(`${lines[1 + (index % ROWS)]}\n`));
            expected.push(index % ROWS);
          } else {
            parts.push(bytes, Buffer.from("\n"));
            bad.push(line);
          }
          line += 1;
        }
        const found = await read(Buffer.concat(parts));
        expect(seqs(found)).toEqual(expected);
        expect(found.bad.map((problem) => problem.line)).toEqual(bad);
      }),
      { numRuns: 100, seed: 32 },
    );
  });

  test("that were changed here and there give rows or bad lines, or a refusal", async () => {
    const change = fc.tuple(fc.nat(sound.length - 1), fc.nat(255));
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 30 }), async (changes) => {
        const bytes = Buffer.from(sound);
        for (const [at, value] of changes) bytes[at] = value;
        const found = await read(bytes).catch((error: unknown) => error);
        if (found instanceof Error) expect(found).toMatchObject({ code: "LOG_VERSION" });
        else expect(found).toMatchObject({ rows: expect.any(Array), bad: expect.any(Array) });
      }),
      { numRuns: 200, seed: 33 },
    );
  });
});

describe("joining logs", () => {
  async function write(directory: string, producerId: string, ids: readonly number[], offsetMs: number): Promise<void> {
    const base = makeClock();
    const clock = { monoNs: () => base.monoNs(), unixMs: () => base.unixMs() + offsetMs };
    const { writer } = await openWriter({ directory, producerId, clock, segmentBytes: 2500, runId: producerId });
    const observer = new LogObserver(writer);
    for (const id of ids) {
      observer.onStep(makeStep(id));
      observer.onEvent(makeEvent(String(id)));
    }
    await writer.close();
  }

  test("gives rows of all producers, streams and files in the order of time", async () => {
    const directory = makeFolder();
    await write(directory, "b", [0, 1, 2, 3, 4, 5, 6, 7], 1);
    await write(directory, "a", [10, 11, 12, 13, 14], 0);
    const chains = await findLogChains([directory]);
    expect(chains.map((chain) => [chain.producer, chain.stream, chain.paths.length > 1])).toEqual([
      ["a", "event", false],
      ["a", "step", true],
      ["b", "event", false],
      ["b", "step", true],
    ]);
    const rows: LogRow[] = [];
    for await (const batch of mergeLogs(chains)) rows.push(...batch);
    expect(rows).toHaveLength(26);
    const times = rows.map((row) => row.time_unix_ns);
    expect(times).toEqual([...times].sort((left, right) => left - right));
    expect(rows.slice(0, 3).map((row) => [row.producer_id, row.schema])).toEqual([
      ["a", "noodle.step.v1"],
      ["a", "noodle.event.v1"],
      ["a", "noodle.step.v1"],
    ]);
  });

  test("counts files, rows, bad lines and the rows that are missing between others", async () => {
    const directory = makeFolder();
    const path = join(directory, "coordinator.step.000000.jsonl");
    writeFileSync(path, [lines[0], lines[2], lines[3], "?", lines[6]].join("\n"));
    const summary = await foldLogs([path], {});
    expect(summary).toMatchObject({
      rows: 3,
      badLines: 1,
      missingRows: 2,
      files: [{ path, rows: 3, badLines: 1, header: { stream: "step" } }],
      streams: [{ schema: "noodle.step.v1", producerId: "coordinator", firstSeq: 1, lastSeq: 5, missingRows: 2 }],
    });
  });

  test("reads a file once that is named twice, and finds the logs of a run's folder", async () => {
    const run = makeFolder();
    mkdirSync(join(run, "logs"));
    const path = join(run, "logs", "coordinator.step.000000.jsonl");
    writeFileSync(path, sound);
    writeFileSync(join(run, "profile.json"), "{}");
    expect(await foldLogs([run, path], {})).toMatchObject({ rows: ROWS, missingRows: 0 });
  });

  test("refuses an unknown version in any file before it gives a row of another", async () => {
    const directory = makeFolder();
    const path = join(directory, "coordinator.step.000000.jsonl");
    writeFileSync(path, sound);
    copyFileSync(path, join(directory, "coordinator.step.000001.jsonl"));
    writeFileSync(
      join(directory, "coordinator.step.000002.jsonl"),
      sound.toString().replaceAll("noodle.step.v1", "noodle.step.v9"),
    );
    let rows = 0;
    const visitor = { onStep: () => void (rows += 1) };
    await expect(foldLogs([directory], visitor)).rejects.toMatchObject({ code: "LOG_VERSION" });
    expect(rows).toBe(0);
  });

  test("names a folder without logs, and what is neither file nor folder", async () => {
    await expect(findLogChains([makeFolder()])).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });
    await expect(findLogChains([join(makeFolder(), "x")])).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });
    await expect(findLogChains(["/dev/zero"])).rejects.toMatchObject({ code: "FILE_UNREADABLE" });
  });
});
