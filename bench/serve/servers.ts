import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { NOODLE_ENTRY, findFreePort } from "../cluster.ts";

/** A server under test: its processes, and where it answers. */
export interface Server {
  readonly name: string;
  readonly url: string;
  readonly model: string;
  /** Main process first. */
  readonly pids: readonly number[];
  close(): Promise<void>;
}

export interface ServerShape {
  readonly model: string;
  readonly contextTokens: number;
  readonly parallel: number;
}

const READY_TIMEOUT_MS = 120_000;

/** Folder with `llama-server` and `ggml-rpc-server`, or null where the user has none. */
export function findPeers(): string | null {
  const folder = process.env["NOODLE_PEERS"];
  return folder !== undefined && existsSync(join(folder, "llama-server")) ? folder : null;
}

/** `noodle up` as a user starts it. */
export async function startNoodle(
  name: string,
  shape: ServerShape,
  options: { readonly workers: number; readonly threads: number; readonly more?: readonly string[] },
): Promise<Server> {
  const [port, grpcPort] = [await findFreePort(), await findFreePort()];
  const data = await mkdtemp(join(tmpdir(), "noodle-bench-"));
  const child = spawn(
    process.execPath,
    [
      NOODLE_ENTRY,
      "up",
      shape.model,
      `--workers=${options.workers}`,
      `--threads=${options.threads}`,
      `--context=${shape.contextTokens}`,
      `--parallel=${shape.parallel}`,
      `--port=${port}`,
      `--grpc-port=${grpcPort}`,
      `--data=${data}`,
      ...(options.more ?? []),
    ],
    { stdio: "ignore" },
  );
  const url = `http://127.0.0.1:${port}`;
  const close = async (): Promise<void> => {
    await end(child, "SIGINT");
    await rm(data, { recursive: true, force: true });
  };
  await waitHealthy(url, [child], close);
  const status = (await (await fetch(`${url}/v1/status`)).json()) as { nodes: readonly { pid: number }[] };
  const model = await readModelId(url);
  return { name, url, model, pids: [child.pid ?? 0, ...status.nodes.map(({ pid }) => pid)], close };
}

/** `llama-server`, on this machine's cores or over one `ggml-rpc-server` with one thread for each of `rpcWorkers`. */
export async function startLlamaServer(
  name: string,
  folder: string,
  shape: ServerShape,
  options: { readonly threads: number; readonly rpcWorkers?: number },
): Promise<Server> {
  const workers: ChildProcess[] = [];
  const addresses: string[] = [];
  for (let i = 0; i < (options.rpcWorkers ?? 0); i++) {
    const port = await findFreePort();
    workers.push(spawn(join(folder, "ggml-rpc-server"), ["-t", "1", "-p", String(port)], { stdio: "ignore" }));
    addresses.push(`127.0.0.1:${port}`);
  }
  if (workers.length > 0) await new Promise((resolve) => setTimeout(resolve, 1000));
  const port = await findFreePort();
  const child = spawn(
    join(folder, "llama-server"),
    [
      "-m",
      shape.model,
      "--port",
      String(port),
      "-t",
      String(options.threads),
      // Its context is that of all sequences together.
      "-c",
      String(shape.contextTokens * shape.parallel),
      "-np",
      String(shape.parallel),
      "--no-webui",
      "-fit",
      "off",
      "-cram",
      "0",
      ...(addresses.length === 0 ? [] : ["--rpc", addresses.join(","), "-ngl", "all"]),
    ],
    { stdio: "ignore" },
  );
  const url = `http://127.0.0.1:${port}`;
  const close = async (): Promise<void> => {
    for (const each of [child, ...workers]) await end(each, "SIGTERM");
  };
  await waitHealthy(url, [child, ...workers], close);
  return { name, url, model: await readModelId(url), pids: [child, ...workers].map(({ pid }) => pid ?? 0), close };
}

async function readModelId(url: string): Promise<string> {
  const models = (await (await fetch(`${url}/v1/models`)).json()) as { data: readonly { id: string }[] };
  return models.data[0]?.id ?? "";
}

async function waitHealthy(url: string, processes: readonly ChildProcess[], close: () => Promise<void>): Promise<void> {
  const deadlineMs = performance.now() + READY_TIMEOUT_MS;
  for (;;) {
    const ended = processes.some(({ exitCode, signalCode }) => exitCode !== null || signalCode !== null);
    if (ended || performance.now() > deadlineMs) {
      await close();
      throw new Error(ended ? `a server at ${url} ended while it started` : `${url} was not ready in time`);
    }
    const healthy = await fetch(`${url}/health`).then(
      ({ ok }) => ok,
      () => false,
    );
    if (healthy) return;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

async function end(child: ChildProcess, signal: "SIGINT" | "SIGTERM"): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once("close", resolve));
  child.kill(signal);
  const timer = setTimeout(() => child.kill("SIGKILL"), 15_000);
  await gone;
  clearTimeout(timer);
}
