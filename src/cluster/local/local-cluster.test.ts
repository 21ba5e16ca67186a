import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { NoodleError } from "../../common/index.ts";
import { ModelIdentitySchema } from "../../protocol/index.ts";
import type { ModelSource } from "../coordinator/index.ts";
import { LocalCluster, type LocalClusterOptions } from "./local-cluster.ts";

let dir = "";
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "noodle-local-test-"));
});
afterEach(async () => {
  await rm(dir, { recursive: true, force: true });
});

const MODEL: ModelSource = {
  identity: create(ModelIdentitySchema, { path: "model" }),
  unitCount: 4,
  fileBytes: 0,
  contextLength: 64,
  splitByBytes: (stages) => Array.from({ length: stages }, (_, i) => ({ first: i, end: i + 1 })),
  parseSplit: () => [],
  streamRange: async function* () {},
  close: async () => undefined,
};

/** Options for a cluster whose worker processes run `script` instead of a worker. */
async function optionsFor(script: string, more: Partial<LocalClusterOptions> = {}): Promise<LocalClusterOptions> {
  const entry = join(dir, "entry.mjs");
  await writeFile(
    entry,
    `import { writeFileSync } from "node:fs";\nwriteFileSync(process.argv[1] + "." + process.pid, process.argv.join(" "));\n${script}`,
  );
  return {
    model: MODEL,
    tokenizer: {
      vocabSize: 1,
      tokenize: () => new Int32Array(),
      pieceBytes: () => new Uint8Array(),
      isEndOfGeneration: () => false,
    },
    workers: 2,
    entry,
    dataDir: join(dir, "data"),
    ...more,
  };
}

/** Process ids of the workers that were started. */
async function startedPids(): Promise<number[]> {
  const names = await readdir(dir);
  return names.filter((name) => name.startsWith("entry.mjs.")).map((name) => Number(name.split(".").at(-1)));
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

async function startError(options: LocalClusterOptions, signal = new AbortController().signal): Promise<NoodleError> {
  try {
    await LocalCluster.start(options, { signal });
  } catch (error) {
    return NoodleError.from(error);
  }
  throw new Error("the cluster started");
}

describe("a local cluster that cannot start", () => {
  it("reports a worker that dies with its last words, and leaves nothing behind", async () => {
    const script = `console.error("no room for the stage"); process.exit(process.argv.includes("worker-2") ? 7 : await new Promise((r) => setTimeout(r, 60_000)));`;
    const error = await startError(await optionsFor(script));
    expect(error).toMatchObject({
      code: "PEER_DEAD",
      details: { nodeId: "worker-2", exitCode: 7, lastLines: ["no room for the stage"] },
    });
    const pids = await startedPids();
    expect(pids).not.toHaveLength(0);
    expect(pids.filter(isAlive)).toEqual([]);
  });

  it("ends workers that do not listen to SIGTERM", async () => {
    const script = `process.on("SIGTERM", () => {}); setInterval(() => {}, 1000);`;
    const options = await optionsFor(script, { workers: 1, readyTimeoutMs: 1500, stopGraceMs: 200 });
    expect((await startError(options)).code).toBe("TIMED_OUT");
    const pids = await startedPids();
    expect(pids).toHaveLength(1);
    expect(pids.filter(isAlive)).toEqual([]);
  });

  it("stops when it is interrupted, and removes its temporary directory", async () => {
    const { dataDir: _none, ...options } = await optionsFor("setInterval(() => {}, 1000);");
    const controller = new AbortController();
    const failed = startError(options, controller.signal);
    for (let i = 0; i < 500 && (await startedPids()).length === 0; i++) await new Promise((r) => setTimeout(r, 20));
    controller.abort();
    expect((await failed).code).toBe("INTERRUPTED");
    const pids = await startedPids();
    expect(pids.filter(isAlive)).toEqual([]);
    const args = (await readFile(join(dir, `entry.mjs.${pids[0]}`), "utf8")).split(" ");
    expect(args).toContain("--exit-with-coordinator");
    expect(existsSync(args[args.indexOf("--data") + 1] ?? "")).toBe(false);
  });

  it("says when the entry is not there", async () => {
    const options = await optionsFor("");
    const error = await startError({ ...options, entry: join(dir, "missing.mjs") });
    expect(error.code).toBe("PEER_DEAD");
  });
});
