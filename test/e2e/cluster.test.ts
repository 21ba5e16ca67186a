import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { must } from "../../src/common/index.ts";
import { GenerateDocument, StatusDocument, UpDocument } from "./documents.ts";
import { type Running, runNoodle, STORYTELLER, startNoodle, tempPath, until } from "./noodle.ts";

const LIMIT_MS = 180_000;
const PROMPT = "Once upon a time there was a king who had three sons.";

/** Starts `noodle up` on free ports and waits until it is ready. */
async function startCluster(workers: number, data: string): Promise<Running & { readonly address: string }> {
  const up = startNoodle([
    "up",
    STORYTELLER,
    "--workers",
    String(workers),
    "--port",
    "0",
    "--grpc-port",
    "0",
    "--data",
    tempPath(data),
    "--json",
  ]);
  await up.said(/^\}$/m);
  return { ...up, address: UpDocument.parse(JSON.parse(up.stdout())).grpc_address };
}

async function readStatus(address: string): Promise<ReturnType<typeof StatusDocument.parse>> {
  return StatusDocument.parse(JSON.parse((await runNoodle(["status", "--coordinator", address, "--json"])).stdout));
}

async function expectStopped(cluster: Running, signal: NodeJS.Signals = "SIGINT"): Promise<void> {
  cluster.child.kill(signal);
  expect((await cluster.finished).code).toBe(130);
  expect(cluster.processes()).toEqual([]);
}

describe("noodle generate", () => {
  test.each([1, 3])(
    "through %i workers gives what the undivided engine gives, bit for bit",
    { timeout: LIMIT_MS },
    async (workers) => {
      const args = ["generate", STORYTELLER, "-p", PROMPT, "-n", "24", "--threads", "1", "--json"];
      const run = startNoodle([...args, "--workers", String(workers), "--verify"]);
      const { code, stdout } = await run.finished;
      const document = GenerateDocument.parse(JSON.parse(stdout));
      expect({ code, verify: document.verify }).toMatchObject({
        code: 0,
        verify: {
          identical_tokens: true,
          identical_logits: true,
          identical_kv: true,
          max_abs_logit_diff: 0,
          first_difference: null,
        },
      });
      expect(document.token_ids).toHaveLength(24);
      expect(document.stages).toHaveLength(workers);
      expect(run.processes()).toEqual([]);
      const reference = GenerateDocument.parse(JSON.parse((await runNoodle([...args, "--reference"])).stdout));
      expect(reference.token_ids).toEqual(document.token_ids);
      expect(reference.text).toBe(document.text);
    },
  );

  test("samples the same text for the same seed, another for another", { timeout: LIMIT_MS }, async () => {
    const tell = async (seed: string): Promise<string> => {
      const options = [
        "-n",
        "32",
        "--temperature",
        "0.9",
        "--top-k",
        "50",
        "--min-p",
        "0.02",
        "--repeat-penalty",
        "1.1",
        "--seed",
        seed,
      ];
      const { stdout } = await runNoodle(["generate", STORYTELLER, "-p", PROMPT, ...options, "--reference", "--json"]);
      return GenerateDocument.parse(JSON.parse(stdout)).text;
    };
    expect(await tell("1")).toBe(await tell("1"));
    expect(await tell("2")).not.toBe(await tell("1"));
  });

  test("writes text to stdout and the rest to stderr", { timeout: LIMIT_MS }, async () => {
    const { code, stdout, stderr } = await runNoodle(["generate", STORYTELLER, "-p", PROMPT, "-n", "8", "--reference"]);
    expect(code).toBe(0);
    expect(stdout).not.toContain("tokens/s");
    expect(stderr).toContain("tokens/s");
  });

  test("ends with 130 at Ctrl-C and leaves no process", { timeout: LIMIT_MS }, async () => {
    const run = startNoodle(["generate", STORYTELLER, "-p", PROMPT, "-n", "400", "--workers", "2"]);
    await run.said("2 stages ready");
    expect(run.processes().length).toBeGreaterThan(2);
    run.child.kill("SIGINT");
    expect((await run.finished).code).toBe(130);
    expect(run.processes()).toEqual([]);
  });
});

describe("a second Ctrl-C", () => {
  test("ends the command at once, and what it started ends by itself", { timeout: LIMIT_MS }, async () => {
    const run = startNoodle(["generate", STORYTELLER, "-p", PROMPT, "-n", "400", "--workers", "2"]);
    await run.said("2 stages ready");
    run.child.kill("SIGINT");
    run.child.kill("SIGTERM");
    expect((await run.finished).code).toBe(130);
    await until(() => run.processes().length === 0);
  });
});

describe("noodle up", () => {
  test("serves other commands, shows its state, and two clusters do not disturb each other", {
    timeout: LIMIT_MS,
  }, async () => {
    const [first, second] = await Promise.all([startCluster(2, "one"), startCluster(1, "two")]);
    const status = await readStatus(first.address);
    expect(status.nodes.map((node) => node.state)).toEqual(["ready", "ready"]);
    expect(status.stages).toHaveLength(2);
    expect((await readStatus(second.address)).nodes).toHaveLength(1);
    const ask = ["generate", STORYTELLER, "-p", PROMPT, "-n", "12", "--verify", "--json", "--coordinator"];
    const answers = await Promise.all([runNoodle([...ask, first.address]), runNoodle([...ask, second.address])]);
    for (const { code, stdout } of answers) {
      expect({ code, verify: GenerateDocument.parse(JSON.parse(stdout)).verify?.identical_logits }).toEqual({
        code: 0,
        verify: true,
      });
    }
    expect((await readStatus(first.address)).sessions).toEqual([]);
    await Promise.all([expectStopped(first), expectStopped(second, "SIGTERM")]);
  });

  test("transfers no weights at a second start", { timeout: LIMIT_MS }, async () => {
    for (let start = 0; start < 2; start++) {
      const cluster = await startCluster(2, "again");
      const { nodes } = await readStatus(cluster.address);
      if (start === 1) expect(nodes.map((node) => node.weights_bytes_received)).toEqual([0, 0]);
      await expectStopped(cluster);
    }
  });

  test("a generation goes on when a stage's process is killed, with the text that it would have had", {
    timeout: LIMIT_MS,
  }, async () => {
    const cluster = await startCluster(2, "killed");
    const ask = ["generate", "--coordinator", cluster.address, "-p", PROMPT, "-n", "400", "--json"];
    const run = startNoodle(ask);
    await until(async () =>
      (await readStatus(cluster.address)).sessions.some((session) => session.generated_tokens > 3),
    );
    const before = await readStatus(cluster.address);
    const host = must(before.stages[1]?.host_pid, "pid of a stage host");
    process.kill(host, "SIGKILL");
    const disturbed = await Promise.race([
      run.finished,
      sleep(60_000).then(() => ({ code: -1, stdout: "null", stderr: "" })),
    ]);
    expect({ code: disturbed.code, stderr: disturbed.code === 0 ? "" : disturbed.stderr }).toEqual({
      code: 0,
      stderr: "",
    });
    const after = await readStatus(cluster.address);
    expect(after.stages[1]?.host_pid).not.toBe(host);
    const whole = await runNoodle(ask);
    const textOf = (stdout: string): string => GenerateDocument.parse(JSON.parse(stdout)).text;
    expect(textOf(disturbed.stdout)).toBe(textOf(whole.stdout));
    await expectStopped(cluster);
  });
});

describe("noodle coordinator and noodle worker", () => {
  test("make a cluster of separate processes; the worker outlives no Ctrl-C", { timeout: LIMIT_MS }, async () => {
    // Other threads than the worker would choose: the verification has to know.
    const options = [
      "--expect",
      "1",
      "--threads",
      "1",
      "--port",
      "0",
      "--grpc-port",
      "0",
      "--data",
      tempPath("separate"),
    ];
    const coordinator = startNoodle(["coordinator", STORYTELLER, ...options]);
    await coordinator.said(/gRPC \S+:\d+,/);
    const address = must(/gRPC (\S+:\d+),/.exec(coordinator.stdout())?.[1], "address");
    const worker = startNoodle(["worker", "--join", address, "--data", tempPath("separate-worker"), "--name", "only"]);
    await coordinator.said("ready: noodle generate");
    const ask = ["generate", STORYTELLER, "--coordinator", address, "-p", PROMPT, "-n", "4", "--verify", "--json"];
    const document = GenerateDocument.parse(JSON.parse((await runNoodle(ask)).stdout));
    expect(document.stages.map(({ node, units }) => ({ node, units }))).toEqual([{ node: "only", units: "0:14" }]);
    expect(document.verify?.first_difference).toBeNull();
    await expectStopped(worker);
    await expectStopped(coordinator);
  });

  test("a worker with too little memory for its stage is named, with the code", { timeout: LIMIT_MS }, async () => {
    const options = ["--expect", "1", "--port", "0", "--grpc-port", "0", "--data", tempPath("small")];
    const coordinator = startNoodle(["coordinator", STORYTELLER, ...options]);
    await coordinator.said(/gRPC \S+:\d+,/);
    const address = must(/gRPC (\S+:\d+),/.exec(coordinator.stdout())?.[1], "address");
    const worker = startNoodle(["worker", "--join", address, "--data", tempPath("small-worker"), "--memory", "1MiB"]);
    await coordinator.said("MEMORY_INSUFFICIENT");
    // It stays: a worker with more memory may come.
    expect(coordinator.child.exitCode).toBeNull();
    worker.child.kill("SIGINT");
    coordinator.child.kill("SIGINT");
    await Promise.all([worker.finished, coordinator.finished]);
    expect([...coordinator.processes(), ...worker.processes()]).toEqual([]);
  });
});
