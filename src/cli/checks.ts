import { accessSync, constants, existsSync, mkdirSync } from "node:fs";
import { statfs } from "node:fs/promises";
import { createServer } from "node:net";
import { cpus, freemem, totalmem } from "node:os";
import { NoodleError } from "../common/index.ts";
import { checkEngineLayout, describeEngine, type EngineDescription, type LoadOptions } from "../engine/index.ts";
import { DEFAULT_GRPC_PORT, DEFAULT_HTTP_PORT } from "../protocol/index.ts";
import { LOOPBACK } from "./addresses.ts";
import { BUNDLED_MODEL } from "./directories.ts";
import { formatBytes } from "./quantities.ts";

/** One finding of `noodle doctor`. A warning names something that may get in the way; a failure stops the work. */
export interface Check {
  readonly name: string;
  readonly status: "ok" | "warning" | "failure";
  readonly found: string;
  /** What to do; null when nothing is wrong. */
  readonly cure: string | null;
}

const MIN_NODE: readonly [number, number] = [20, 20];
const LOW_MEMORY_BYTES = 2 ** 30;
const LOW_DISK_BYTES = 2 ** 30;

export function checkNode(version: string): Check {
  const [major = 0, minor = 0] = version.replace(/^v/, "").split(".").map(Number);
  const isOld = major < MIN_NODE[0] || (major === MIN_NODE[0] && minor < MIN_NODE[1]);
  return isOld
    ? {
        name: "node",
        status: "failure",
        found: version,
        cure: `install Node ${MIN_NODE.join(".")} or later: earlier ones lack security fixes of HTTP/2`,
      }
    : { name: "node", status: "ok", found: version, cure: null };
}

/** Loads the library into this process. */
export function checkEngine(options: LoadOptions): {
  readonly check: Check;
  readonly engine: EngineDescription | null;
} {
  try {
    const engine = describeEngine(options);
    const origin = engine.packageName ?? engine.directory;
    return {
      engine,
      check: {
        name: "engine",
        status: "ok",
        found: `${engine.build}, variant ${engine.variant}, from ${origin}`,
        cure: null,
      },
    };
  } catch (thrown) {
    const error = NoodleError.from(thrown, "ENGINE_LOAD_FAILED");
    return {
      engine: null,
      check: { name: "engine", status: "failure", found: error.message, cure: cureOfEngine(error) },
    };
  }
}

function cureOfEngine(error: NoodleError): string {
  // "run `noodle doctor`" is the cure everywhere else; here the message itself names the package.
  return error.code === "ENGINE_NOT_FOUND" ? "install the package that is named here" : error.row.cure;
}

export function checkLayout(options: LoadOptions): Check {
  const report = checkEngineLayout(options);
  return report.ok
    ? {
        name: "engine layout",
        status: "ok",
        found: `${report.checked.length} checks agree with the library`,
        cure: null,
      }
    : {
        name: "engine layout",
        status: "failure",
        found: report.problem ?? "the check failed",
        cure: "install the engine package of exactly the pinned version",
      };
}

export function checkCpu(engine: EngineDescription | null): Check {
  const list = cpus();
  const features = engine === null ? "" : `; the engine uses ${engine.features.join(" ")}`;
  return {
    name: "cpu",
    status: "ok",
    found: `${list.length} x ${list[0]?.model.trim() ?? "unknown"}${features}`,
    cure: null,
  };
}

export function checkMemory(freeBytes: number = freemem(), totalBytes: number = totalmem()): Check {
  const isLow = freeBytes < LOW_MEMORY_BYTES;
  return {
    name: "memory",
    status: isLow ? "warning" : "ok",
    found: `${formatBytes(freeBytes)} free of ${formatBytes(totalBytes)}`,
    cure: isLow ? "close what holds memory, or give this machine few units (--split, --memory)" : null,
  };
}

/** Makes the folder when it is not there, as a worker would. */
export async function checkDisk(directory: string): Promise<Check> {
  try {
    mkdirSync(directory, { recursive: true });
    accessSync(directory, constants.W_OK);
    const disk = await statfs(directory);
    const freeBytes = disk.bavail * disk.bsize;
    const isLow = freeBytes < LOW_DISK_BYTES;
    return {
      name: "disk",
      status: isLow ? "warning" : "ok",
      found: `${formatBytes(freeBytes)} free in ${directory}`,
      cure: isLow ? "free space, or choose another folder with --data" : null,
    };
  } catch (error) {
    const { message } = NoodleError.from(error);
    return { name: "disk", status: "failure", found: message, cure: "choose a folder that you may write with --data" };
  }
}

export async function checkPorts(ports: readonly number[] = [DEFAULT_HTTP_PORT, DEFAULT_GRPC_PORT]): Promise<Check> {
  const taken: number[] = [];
  for (const port of ports) if (!(await canListen(port))) taken.push(port);
  return taken.length === 0
    ? { name: "ports", status: "ok", found: `${ports.join(" and ")} are free`, cure: null }
    : {
        name: "ports",
        status: "warning",
        found: `${taken.join(" and ")} in use`,
        cure: "a cluster may run already (`noodle status`); choose others with --port and --grpc-port",
      };
}

function canListen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, LOOPBACK, () => server.close(() => resolve(true)));
  });
}

export function checkBundledModel(path: string = BUNDLED_MODEL): Check {
  return existsSync(path)
    ? { name: "bundled model", status: "ok", found: path, cure: null }
    : { name: "bundled model", status: "failure", found: `${path} is missing`, cure: "install the package again" };
}
