import { readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { LogObserver } from "./log-observer.ts";
import { writeEventRow, writeStepRow } from "./row-bodies.ts";
import { FaultyFiles, makeEvent, makeFolder, makeStep, openWriter, readFolder } from "./testing.ts";

const STEPS = "coordinator.step.000000.jsonl";
const EVENTS = "coordinator.event.000000.jsonl";

function seqsOf(rows: readonly Record<string, unknown>[] | undefined): unknown[] {
  return (rows ?? []).filter((row) => row["event_type"] !== "header").map((row) => row["seq"]);
}

describe("a log writer", () => {
  test("begins each stream's file with a header, made when the first row comes", async () => {
    const { writer, directory } = await openWriter();
    expect(readdirSync(directory)).toEqual([]);
    const observer = new LogObserver(writer);
    writer.describe({ model: { name: "m", sourceSha256: "ab", units: 8 } });
    observer.onPlan({ epoch: 4, split: "0:3,3:8", reason: "first", stages: [] });
    observer.onStep(makeStep(1));
    await writer.close();
    expect([...readFolder(directory).keys()]).toEqual(["coordinator.plan.000000.jsonl", STEPS]);
    expect(readFolder(directory).get(STEPS)?.[0]).toMatchObject({
      schema: "noodle.step.v1",
      event_type: "header",
      stream: "step",
      seq: 0,
      run_id: "run-1",
      producer_id: "coordinator",
      file_index: 0,
      versions: { noodlecore: "0.0.0", node: process.version, engine_build: "b1", engine_variant: null },
      model: { name: "m", source_sha256: "ab", units: 8 },
      plan: { epoch: 4, split: "0:3,3:8" },
      clock: { mono: "process.hrtime", anchor_unix_ns: 1_790_000_000_000_000_000, anchor_mono_ns: 5_000_000_001_000 },
    });
  });

  test("writes by itself after a while", async () => {
    const { writer, directory } = await openWriter({ flushMs: 1 });
    writer.write("step", writeStepRow(makeStep(1)));
    while (writer.stats().rowsWritten === 0) await new Promise((resolve) => setTimeout(resolve, 2));
    expect(seqsOf(readFolder(directory).get(STEPS))).toEqual([0]);
    await writer.close();
  });

  test("continues where an earlier run ended, and keeps the newest files only", async () => {
    const directory = makeFolder();
    for (let run = 0; run < 4; run += 1) {
      const { writer } = await openWriter({ directory, keepSegments: 2 });
      writer.write("step", writeStepRow(makeStep(run)));
      await writer.close();
    }
    expect(readdirSync(directory)).toEqual(["coordinator.step.000002.jsonl", "coordinator.step.000003.jsonl"]);
  });

  test("leaves a file alone that another process has begun meanwhile", async () => {
    const { writer, directory } = await openWriter();
    writeFileSync(join(directory, STEPS), "theirs");
    writer.write("step", writeStepRow(makeStep(1)));
    await writer.close();
    expect(statSync(join(directory, STEPS)).size).toBe(6);
    expect(readdirSync(directory)).toEqual([STEPS, "coordinator.step.000001.jsonl"]);
  });

  test("takes what is no file name out of the producer's name", async () => {
    const { writer, directory } = await openWriter({ producerId: "../../etc/x.y" });
    writer.write("step", writeStepRow(makeStep(1)));
    await writer.close();
    expect(readdirSync(directory)).toEqual(["-etc-x-y.step.000000.jsonl"]);
    expect([...readFolder(directory).values()][0]?.[1]).toMatchObject({ producer_id: "../../etc/x.y" });
  });

  test("drops rows when too many wait, counts them, and leaves a gap in seq", async () => {
    const { writer, directory, problems } = await openWriter({ maxQueuedRows: 3 });
    const taken = Array.from({ length: 5 }, (_, id) => writer.write("step", writeStepRow(makeStep(id))));
    expect(taken).toEqual([true, true, true, false, false]);
    await writer.flush();
    writer.write("step", writeStepRow(makeStep(5)));
    expect(await writer.close()).toMatchObject({ rowsWritten: 5, rowsLost: 2, rowsQueued: 0, problem: null });
    expect(seqsOf(readFolder(directory).get(STEPS))).toEqual([0, 1, 2, 5]);
    expect(readFolder(directory).get(EVENTS)?.slice(1)).toMatchObject([
      { name: "log.rows_lost", severity: "warning", details: { rows: 2, rows_by_stream: { step: 2 } } },
    ]);
    expect(problems.map(({ name }) => name)).toEqual(["log.rows_lost"]);
  });

  test("bounds the bytes that wait as well as the rows", async () => {
    const { writer } = await openWriter({ maxQueuedBytes: 1000 });
    expect(writer.write("step", writeStepRow(makeStep(0)), 600)).toBe(true);
    expect(writer.write("step", writeStepRow(makeStep(1)), 600)).toBe(false);
    expect(writer.write("event", writeEventRow(makeEvent("small")), 400)).toBe(true);
    expect(await writer.close()).toMatchObject({ rowsLost: 1 });
  });

  test("counts rows that JSON can't say or that are longer than a line", async () => {
    const { writer, directory } = await openWriter();
    const circle: Record<string, unknown> = {};
    circle["self"] = circle;
    writer.write("event", writeEventRow(makeEvent("circle", circle)));
    writer.write("event", writeEventRow(makeEvent("bigint", { n: 1n })));
    writer.write("event", writeEventRow(makeEvent("x".repeat(2 ** 20))));
    writer.write("event", writeEventRow(makeEvent("good")));
    await writer.flush();
    expect(await writer.close()).toMatchObject({ rowsLost: 3 });
    expect(readFolder(directory).get(EVENTS)?.slice(1)).toMatchObject([
      { seq: 3, message: "good" },
      { seq: 4, name: "log.rows_lost", details: { rows: 3 } },
    ]);
  });

  test("takes nothing behind its end, and ends once", async () => {
    const { writer, directory } = await openWriter();
    writer.write("step", writeStepRow(makeStep(0)));
    const [first, second] = await Promise.all([writer.close(), writer.close()]);
    expect(second).toBe(first);
    expect(writer.write("step", writeStepRow(makeStep(1)))).toBe(false);
    expect(writer.stats().rowsLost).toBe(1);
    expect(seqsOf(readFolder(directory).get(STEPS))).toEqual([0]);
  });

  test.each([
    [{ segmentBytes: 0 }, "USAGE"],
    [{ keepSegments: 1.5 }, "USAGE"],
    [{ maxQueuedRows: Number.NaN }, "USAGE"],
  ])("refuses %j", async (options, code) => {
    await expect(openWriter(options)).rejects.toMatchObject({ code });
  });

  test("refuses a folder that is a file", async () => {
    const path = join(makeFolder(), "file");
    writeFileSync(path, "");
    await expect(openWriter({ directory: path })).rejects.toMatchObject({ code: "FILE_UNREADABLE" });
  });
});

describe("when the disk fails", () => {
  test("serving goes on, one event says so, and what waited is written when there is room again", async () => {
    const files = new FaultyFiles();
    const { writer, directory, problems } = await openWriter({ files, maxQueuedRows: 4 });
    writer.write("step", writeStepRow(makeStep(0)));
    await writer.flush();
    files.roomBytes = 100;
    for (let id = 1; id < 8; id += 1) writer.write("step", writeStepRow(makeStep(id)));
    for (let tries = 0; tries < 5; tries += 1) await writer.flush();
    expect(problems).toMatchObject([{ name: "log.write_failed", severity: "error", details: { code: "DISK_FULL" } }]);
    expect(writer.stats().problem).toEqual(problems[0]);
    // No half line is left, even now.
    expect(seqsOf(readFolder(directory).get(STEPS))).toEqual([0]);
    files.roomBytes = Number.POSITIVE_INFINITY;
    expect(await writer.close()).toMatchObject({ rowsLost: 3, problem: null });
    expect(seqsOf(readFolder(directory).get(STEPS))).toEqual([0, 1, 2, 3, 4]);
    expect(readFolder(directory).get(EVENTS)?.slice(1)).toMatchObject([
      { seq: 0, name: "log.write_failed" },
      { seq: 1, name: "log.rows_lost", details: { rows: 3 } },
    ]);
  });

  test("it tries again by itself", async () => {
    const files = new FaultyFiles();
    const { writer } = await openWriter({ files, flushMs: 1, retryMs: 1 });
    files.errno = "EROFS";
    writer.write("step", writeStepRow(makeStep(0)));
    while (writer.stats().problem === null) await new Promise((resolve) => setTimeout(resolve, 2));
    files.errno = null;
    while (writer.stats().rowsWritten < 2) await new Promise((resolve) => setTimeout(resolve, 2));
    expect(writer.stats()).toMatchObject({ problem: null, rowsLost: 0 });
    await writer.close();
  });

  test("a file with an error of its own is left, and the next one begun", async () => {
    const files = new FaultyFiles();
    const { writer, directory } = await openWriter({ files });
    writer.write("step", writeStepRow(makeStep(0)));
    await writer.flush();
    files.errno = "EIO";
    writer.write("step", writeStepRow(makeStep(1)));
    for (let tries = 0; tries < 5; tries += 1) await writer.flush();
    files.errno = null;
    await writer.close();
    const rows = readFolder(directory);
    expect(rows.size).toBe(3);
    expect(seqsOf(rows.get(STEPS))).toEqual([0]);
    expect(seqsOf(rows.get("coordinator.step.000001.jsonl"))).toEqual([1]);
  });

  test("a disk that never answers holds up nobody: what waits is given up at the end and counted", async () => {
    const files = new FaultyFiles();
    const { writer, problems } = await openWriter({ files });
    let release = (): void => undefined;
    files.hold = new Promise((resolve) => {
      release = resolve;
    });
    for (let id = 0; id < 3; id += 1) writer.write("step", writeStepRow(makeStep(id)));
    expect(await writer.close(20)).toMatchObject({ rowsWritten: 0, rowsLost: 3 });
    expect(problems).toMatchObject([{ name: "log.rows_lost", details: { rows: 3 } }]);
    release();
    await writer.flush();
  });

  test("rows that are still not written at the end are counted", async () => {
    const files = new FaultyFiles();
    const { writer, problems } = await openWriter({ files });
    files.roomBytes = 0;
    for (let id = 0; id < 3; id += 1) writer.write("step", writeStepRow(makeStep(id)));
    // The three, and the row that says why.
    expect(await writer.close()).toMatchObject({ rowsWritten: 0, rowsLost: 4 });
    expect(problems.map(({ name }) => name)).toEqual(["log.write_failed", "log.rows_lost"]);
  });

  test("a listener that throws stops nothing", async () => {
    const { writer, directory } = await openWriter({
      maxQueuedRows: 1,
      onProblem: () => {
        throw new Error("from the listener");
      },
    });
    for (let id = 0; id < 3; id += 1) writer.write("step", writeStepRow(makeStep(id)));
    await writer.close();
    expect(seqsOf(readFolder(directory).get(EVENTS))).toEqual([0]);
  });
});

describe("for any rows and limits", () => {
  test("files stay below a segment, keep the newest, and hold the rows in order", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.nat(3000), { minLength: 1, maxLength: 40 }),
        fc.integer({ min: 1, max: 12_000 }),
        fc.integer({ min: 1, max: 50 }),
        fc.nat(7),
        async (lengths, segmentBytes, keepSegments, flushEvery) => {
          const { writer, directory } = await openWriter({ segmentBytes, keepSegments });
          for (const [index, length] of lengths.entries()) {
            writer.write("event", writeEventRow(makeEvent("é".repeat(length))), length);
            if (flushEvery > 0 && index % flushEvery === 0) await writer.flush();
          }
          await writer.close();
          const files = [...readFolder(directory)];
          expect(files.length).toBeLessThanOrEqual(keepSegments);
          for (const [name, rows] of files) {
            expect(rows.filter((row) => row["event_type"] === "header")).toEqual([rows[0]]);
            expect(rows[0]?.["seq"]).toBe(rows[1]?.["seq"]);
            if (rows.length > 2) expect(statSync(join(directory, name)).size).toBeLessThanOrEqual(segmentBytes);
          }
          const seqs = files.flatMap(([, rows]) => seqsOf(rows));
          expect(seqs).toEqual(Array.from(seqs, (_, index) => lengths.length - seqs.length + index));
          if (files[0]?.[0] === EVENTS) expect(seqs).toHaveLength(lengths.length);
        },
      ),
      { numRuns: 40, seed: 11 },
    );
  });

  test("each row is either in a file once, or counted as lost and missing from seq", async () => {
    const action = fc.oneof(
      fc.record({ type: fc.constant("write" as const), rows: fc.integer({ min: 1, max: 12 }) }),
      fc.record({ type: fc.constant("flush" as const) }),
      fc.record({ type: fc.constant("room" as const), bytes: fc.nat(6000) }),
      fc.record({ type: fc.constant("errno" as const), errno: fc.constantFrom("EIO", "EROFS", null) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(action, { maxLength: 25 }), fc.integer({ min: 1, max: 20 }), async (actions, bound) => {
        const files = new FaultyFiles();
        const { writer, directory } = await openWriter({ files, maxQueuedRows: bound, segmentBytes: 4000 });
        let written = 0;
        for (const step of actions) {
          if (step.type === "flush") await writer.flush();
          else if (step.type === "room") files.roomBytes = step.bytes;
          else if (step.type === "errno") files.errno = step.errno;
          else for (let row = 0; row < step.rows; row += 1) writer.write("step", writeStepRow(makeStep(written++)));
        }
        files.errno = null;
        files.roomBytes = Number.POSITIVE_INFINITY;
        const { rowsLost, rowsWritten } = await writer.close();
        const seqs = [...readFolder(directory)].flatMap(([name, rows]) => (name.includes("step") ? seqsOf(rows) : []));
        expect(seqs).toEqual([...new Set(seqs)].sort((left, right) => Number(left) - Number(right)));
        expect(seqs.length).toBe(written - rowsLost);
        expect(rowsWritten).toBeGreaterThanOrEqual(seqs.length);
      }),
      { numRuns: 60, seed: 12 },
    );
  });
});
