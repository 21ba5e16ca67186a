import { readFile } from "node:fs/promises";
import type { Command } from "commander";
import { NoodleError } from "../common/index.ts";
import { DEFAULT_HTTP_PORT } from "../protocol/index.ts";
import { LOOPBACK } from "./addresses.ts";
import { ApiClient, isObject, readApiUrl, toApiError } from "./api-client.ts";
import { addClusterOptions, type ClusterOptions, parseWorkers } from "./cluster-options.ts";
import type { CommandContext } from "./command.ts";

/** Where a command that talks to the HTTP API finds it: a running cluster's, or one that it starts for itself. */
export interface ApiTargetOptions extends ClusterOptions {
  readonly coordinator?: string;
  readonly apiKeyFile?: string;
  readonly workers?: number;
}

const ADDRESS = `${LOOPBACK}:${DEFAULT_HTTP_PORT}`;
const MAX_KEY_CHARS = 4096;

export function addApiTargetOptions(command: Command): Command {
  command
    .option("--coordinator <url>", `HTTP address of a running cluster (default: ${ADDRESS})`)
    .option("--api-key-file <file>", "file with the API key of the running cluster (default: NOODLE_API_KEY)")
    .option("--workers <k>", "worker processes, with a model's file (default: 1, or the stages of --split)", (text) =>
      parseWorkers(text, "--workers"),
    );
  return addClusterOptions(command);
}

/**
 * Runs `use` with a client of the API: of the running cluster, or, where a model's file is given, of a cluster on this
 * machine that ends with it.
 *
 * @throws NoodleError `USAGE` for options that exclude each other, and what starting a cluster throws
 */
export async function withApi<T>(
  context: CommandContext,
  model: string | undefined,
  options: ApiTargetOptions,
  use: (client: ApiClient) => Promise<T>,
): Promise<T> {
  const { host } = context;
  if (model === undefined) {
    const names = ["workers", "split", "threads", "context", "parallel", "unverified", "data"] as const;
    const ofCluster = names.find((name) => options[name] !== undefined);
    if (ofCluster !== undefined) throw new NoodleError("USAGE", `--${ofCluster} needs a model's file to start with`);
    const key = await readKey(options.apiKeyFile, host.env["NOODLE_API_KEY"]);
    return useClient(new ApiClient(readApiUrl(options.coordinator ?? ADDRESS, "--coordinator"), key), use);
  }
  if (options.coordinator !== undefined) {
    throw new NoodleError("USAGE", "a model's file and --coordinator exclude each other");
  }
  const workers = options.workers ?? options.split?.split(",").length ?? 1;
  // Loaded here alone: a client of a running cluster needs neither engine nor server.
  const { withLocalApi } = await import("./local-api.ts");
  return withLocalApi({ context, model, options, workers }, (url) => useClient(new ApiClient(url), use));
}

async function useClient<T>(client: ApiClient, use: (client: ApiClient) => Promise<T>): Promise<T> {
  try {
    return await use(client);
  } finally {
    client.close();
  }
}

async function readKey(file: string | undefined, fallback: string | undefined): Promise<string | null> {
  const text = file === undefined ? fallback : await readFile(file, "utf8").catch(refuseFile);
  const key = (text ?? "").trim().split("\n")[0]?.trim() ?? "";
  if (key.length > MAX_KEY_CHARS || /[^\u0021-\u007e]/.test(key)) {
    throw new NoodleError("USAGE", "the API key is not one line of visible ASCII (--api-key-file)");
  }
  return key === "" ? null : key;
}

function refuseFile(error: unknown): never {
  throw NoodleError.from(error, "FILE_UNREADABLE");
}

/** A model that the API serves. */
export interface ListedModel {
  readonly id: string;
}

/**
 * @param wanted id of a model; the first one where it is undefined
 * @throws NoodleError `MODEL_NOT_FOUND` naming those that are there
 */
export async function chooseModel(
  client: ApiClient,
  wanted: string | undefined,
  signal: AbortSignal,
): Promise<ListedModel> {
  const answer = await client.call("GET", "v1/models", undefined, signal);
  if (answer.status !== 200) throw toApiError(answer);
  const data = isObject(answer.body) && Array.isArray(answer.body["data"]) ? (answer.body["data"] as unknown[]) : [];
  const ids = data.flatMap((model) => (isObject(model) && typeof model["id"] === "string" ? [model["id"]] : []));
  if (ids.length === 0) throw new NoodleError("CLUSTER_NOT_READY", `${client.host} serves no model yet`);
  const id = wanted === undefined ? ids[0] : ids.find((known) => known === wanted);
  if (id === undefined) {
    throw new NoodleError(
      "MODEL_NOT_FOUND",
      `${client.host} serves no model "${wanted}", there is ${ids.join(", ")} (--model-id)`,
    );
  }
  return { id };
}
