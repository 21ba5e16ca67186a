import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { must } from "../../src/common/index.ts";
import { LOG_SCHEMAS, LogObserver, type LogRow, LogWriter, readLog } from "../../src/logs/index.ts";
import { ErrorDocument } from "./documents.ts";
import { runNoodle, tempPath } from "./noodle.ts";

const LogsDocument = z.strictObject({
  schema: z.literal("noodle.logs.v1"),
  rows: z.array(z.looseObject({ schema: z.string(), event_type: z.string(), time_unix_ns: z.number() })),
  files: z.array(
    z.strictObject({
      path: z.string(),
      rows: z.number(),
      bad_lines: z.number(),
      header: z.looseObject({ event_type: z.literal("header") }).nullable(),
    }),
  ),
  bad_lines: z.number(),
  first_bad_lines: z.array(z.strictObject({ path: z.string(), line: z.number(), reason: z.string() })),
  missing_rows: z.number(),
});

const RUN = tempPath("run");
const LOGS = join(RUN, "logs");

/** The logs of two requests that share a step, in the folder of a run. */
beforeAll(async () => {
  mkdirSync(RUN, { recursive: true });
  const facts = { noodlecoreVersion: "0.0.0", engineBuild: null, engineVariant: null };
  const writer = await LogWriter.create({ directory: LOGS, producerId: "coordinator", runId: "run-1", facts });
  const observer = new LogObserver(writer);
  const stages = [
    { stage: 0, nodeId: "w1", queueNs: 1e5, computeNs: 4e6, serializeNs: 1e4, hopNs: null, bytesIn: 20 },
    { stage: 1, nodeId: "w2", queueNs: 2e5, computeNs: 5e6, serializeNs: 0, hopNs: 3e5, bytesIn: 2000 },
  ];
  const step = { epoch: 1, phase: "decode", rows: 1, contextTokens: 9, level: "layer" } as const;
  observer.onPlan({
    epoch: 1,
    split: "0:3,3:6",
    reason: "first plan",
    stages: [
      { stage: 0, nodeId: "w1", units: "0:3" },
      { stage: 1, nodeId: "w2", units: "3:6" },
    ],
  });
  for (const requestId of ["alpha", "beta"]) {
    observer.onRequest({ type: "start", requestId, monoNs: 1, promptTokens: 5, maxTokens: 8, prompt: "secret" });
  }
  for (const [stepId, requestIds] of [["alpha"], ["alpha", "beta"], ["beta"]].entries()) {
    observer.onStep({
      ...step,
      stepId,
      requestIds,
      sampledRequestIds: requestIds,
      sentMonoNs: 1e9,
      receivedMonoNs: 1.012e9,
      stages,
    });
  }
  observer.onLayer({
    ...step,
    stepId: 1,
    requestIds: ["alpha", "beta"],
    stage: 1,
    nodeId: "w2",
    segments: [{ unit: 3, role: "total", startNs: 0, durationNs: 4_500_000, nodes: 20 }],
    stepNs: 5e6,
    hookNs: 5e5,
    arrivalNodeNs: 1,
    computeStartNodeNs: 2,
    computeEndNodeNs: 3,
    sentNodeNs: 4,
  });
  observer.onRequest({
    type: "end",
    requestId: "alpha",
    monoNs: 30_000_001,
    startMonoNs: 1,
    firstStepMonoNs: 2,
    firstTokenMonoNs: 12_000_001,
    promptTokens: 5,
    generatedTokens: 2,
    interTokenNs: [12_000_000],
    finishReason: "stop",
    errorCode: null,
    temperature: 0,
    seed: 1,
    maxTokens: 8,
  });
  observer.onEvent({
    name: "worker.lost",
    severity: "error",
    nodeId: "w2",
    message: "gone\u001b[2J",
    details: { code: "PEER_DEAD" },
  });
  expect(await writer.close()).toMatchObject({ rowsLost: 0 });
});

async function readDocument(args: readonly string[]): Promise<z.infer<typeof LogsDocument>> {
  const finished = await runNoodle(["logs", ...args, "--json"]);
  expect(finished.code).toBe(0);
  return LogsDocument.parse(JSON.parse(finished.stdout));
}

async function expectError(args: readonly string[], code: string): Promise<string> {
  const finished = await runNoodle(["logs", ...args, "--json"]);
  expect({ ...ErrorDocument.parse(JSON.parse(finished.stdout)), exit: finished.code }).toMatchObject({ code, exit: 2 });
  return finished.stderr;
}

describe("noodle logs", () => {
  test("joins all streams of a run's folder, in words and with nothing that steers a terminal", async () => {
    const { code, stdout, stderr } = await runNoodle(["logs", RUN]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const streams = stdout.split("\n").map((line) => line.split(/\s+/)[1]);
    expect(streams).toEqual([
      "plan",
      "request",
      "request",
      "step",
      "step",
      "step",
      "layer",
      "request",
      "event",
      undefined,
    ]);
    expect(stdout).toContain("gone\\u{1b}[2J");
    expect(stdout).not.toContain("\u001b");
    expect(stdout).not.toContain("secret");
  });

  test("gives the rows as they were written with --json, each as its schema says", async () => {
    const document = await readDocument([RUN]);
    expect(document.rows).toHaveLength(9);
    for (const row of document.rows) expect(must(LOG_SCHEMAS[row.schema], row.schema).parse(row)).toEqual(row);
    expect(document.files).toHaveLength(5);
    const steps: LogRow[] = [];
    for await (const row of readLog(join(LOGS, "coordinator.step.000000.jsonl"))) steps.push(row);
    expect(document.rows.filter((row) => row.schema === "noodle.step.v1")).toEqual(steps);
    expect(document).toMatchObject({ bad_lines: 0, first_bad_lines: [], missing_rows: 0 });
  });

  test("tells the story of one request: start, steps with their stages, what is inside, end, and where time went", async () => {
    const { code, stdout } = await runNoodle(["logs", RUN, "--request", "alpha"]);
    expect(code).toBe(0);
    const story = stdout.split("\n");
    expect(story[0]).toContain("alpha start, 5 prompt tokens");
    expect(story[1]).toContain("step 1/0 decode, 1 row, context 9: 12.0 ms");
    expect(story[1]).toContain("[1 w2: hop 0.300 ms, queue 0.200 ms, compute 5.000 ms, serialize 0.000 ms]");
    expect(story[2]).toContain("step 1/1");
    expect(story[3]).toContain("step 1/1 inside 1 w2, level layer: 5.000 ms");
    expect(story[3]).toContain("units 3 4.500 ms");
    expect(story[4]).toContain("alpha end (stop), 2 tokens in 30.0 ms, first token after 12.0 ms");
    expect(story.slice(5, 10)).toEqual([
      "",
      "mean of its steps, ms:",
      "stage  node  steps    hop  queue  compute  serialize",
      "-----  ----  -----  -----  -----  -------  ---------",
      "    0  w1        2      -  0.100    4.000      0.010",
    ]);
    expect((await readDocument([RUN, "--request", "beta"])).rows).toHaveLength(4);
  });

  test("takes streams and times", async () => {
    expect((await readDocument([RUN, "--stream", "event,plan"])).rows).toHaveLength(2);
    expect((await readDocument([join(LOGS, "coordinator.step.000000.jsonl")])).rows).toHaveLength(3);
    expect((await readDocument([RUN, "--since", "1h"])).rows).toHaveLength(9);
    expect((await readDocument([RUN, "--until", "2020-01-01T00:00:00Z"])).rows).toHaveLength(0);
  });

  test("names an unknown request's neighbours, and times, streams and paths that are none", async () => {
    expect(await expectError([RUN, "--request", "gamma"], "USAGE")).toContain("alpha, beta");
    await expectError([RUN, "--stream", "steps"], "USAGE");
    await expectError([RUN, "--stream", "link", "--request", "alpha"], "USAGE");
    await expectError([RUN, "--since", "yesterday"], "USAGE");
    await expectError([RUN, "--until", "2026-13-45"], "USAGE");
    await expectError([tempPath("none")], "FILE_NOT_FOUND");
    await expectError([tempPath(".")], "FILE_NOT_FOUND");
  });

  test("reads the good rows of a damaged file and names the bad lines", async () => {
    const path = tempPath("damaged.jsonl");
    const sound = readFileSync(join(LOGS, "coordinator.step.000000.jsonl"), "utf8");
    const [header, first, second, third] = sound.split("\n");
    writeFileSync(path, [header, first, "garbage", third, second?.slice(0, 40)].join("\n"));
    const finished = await runNoodle(["logs", path]);
    expect(finished.code).toBe(0);
    expect(finished.stdout.split("\n")).toHaveLength(3);
    expect(finished.stderr).toContain(`${path}:3: not JSON`);
    expect(finished.stderr).toContain(`${path}:5: half-written`);
    expect(finished.stderr).toContain("2 bad lines");
    expect(finished.stderr).toContain("1 rows are missing");
    const document = await readDocument([path]);
    expect(document).toMatchObject({ bad_lines: 2, missing_rows: 1, files: [{ path, rows: 2, bad_lines: 2 }] });
    expect(document.first_bad_lines.map(({ line }) => line)).toEqual([3, 5]);
  });

  test("refuses logs of another version, and files that are no logs", async () => {
    const newer = tempPath("newer.jsonl");
    appendFileSync(newer, '{"schema":"noodle.step.v2","event_type":"header"}\n');
    expect(await expectError([RUN, newer], "LOG_VERSION")).toContain("noodle.step.v2");
    const other = tempPath("other.txt");
    writeFileSync(other, "once upon a time\nthere was a king\n");
    await expectError([other], "LOG_MALFORMED");
  });
});
