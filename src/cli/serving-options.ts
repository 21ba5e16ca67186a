import { readFile, stat } from "node:fs/promises";
import type { Command } from "commander";
import { DEFAULT_CHAT_TEMPLATE } from "../chat/index.ts";
import type { CoordinatorOptions } from "../cluster/coordinator/index.ts";
import { NoodleError } from "../common/index.ts";
import { parseDurationMs, parseInteger, parseSizeBytes } from "./quantities.ts";

/** How requests are served; the same for every command that serves the HTTP API. */
export interface ServingOptions {
  readonly determinism?: "recorded" | "strict";
  readonly queue?: number;
  readonly queuePerClient?: number;
  readonly prefixCache?: number;
  readonly recoveryWait?: number;
  readonly decodeInFlight?: number;
  readonly mixedPrefillRows?: number;
  readonly prefillRows?: number;
  readonly journal?: boolean;
  readonly alias?: readonly string[];
  readonly chatTemplate?: string;
  readonly apiKey?: readonly string[];
  readonly apiKeyFile?: string;
  readonly corsOrigin?: readonly string[];
  readonly allowHost?: readonly string[];
}

const MAX_KEY_FILE_BYTES = 1024 * 1024;
const MAX_TEMPLATE_BYTES = 1024 * 1024;
const LEAST_KEY_CHARS = 8;

export function addServingOptions(command: Command): Command {
  return command
    .option(
      "--determinism <kind>",
      "recorded (default): notes how each position was computed; strict: the same bits whatever runs beside",
      readDeterminism,
    )
    .option("--queue <n>", "requests that may wait for a KV sequence (default: 16)", (text) =>
      parseInteger(text, "--queue", 0, 100_000),
    )
    .option("--queue-per-client <n>", "of one API key (default: 4)", (text) =>
      parseInteger(text, "--queue-per-client", 0, 100_000),
    )
    .option(
      "--prefix-cache <size>",
      "keys and values that idle sequences keep for prompts that begin alike, 0 = none (default: all)",
      readCache,
    )
    .option(
      "--recovery-wait <time>",
      "what runs when workers are lost waits so long for others, and goes on there; 0s = it ends (default: 60s)",
      (text) => (/^0+(s|ms)?$/.test(text) ? 0 : parseDurationMs(text, "--recovery-wait")),
    )
    .option(
      "--decode-in-flight <n>",
      "micro-batches of decode rows under way at once (default: by stages and what steps take)",
      (text) => parseInteger(text, "--decode-in-flight", 1, 64),
    )
    .option(
      "--mixed-prefill-rows <n>",
      "rows of a prompt's chunk while others decode (default: by what steps take)",
      (text) => parseInteger(text, "--mixed-prefill-rows", 1, 4096),
    )
    .option("--prefill-rows <n>", "most rows of a prompt's chunk (default: 256; 32 in strict)", (text) =>
      parseInteger(text, "--prefill-rows", 1, 4096),
    )
    .option(
      "--journal",
      "write each token to a journal before it goes out: the next start goes on with what a stop cut off",
    )
    .option("--alias <name>", "id that requests choose the model by (default: the file's name); once for each", addText)
    .option("--chat-template <file>", "Jinja instead of the model's own, or the word chatml")
    .option("--api-key <key>", "ask for this key; may be given again (a file keeps it out of the process list)", addKey)
    .option("--api-key-file <file>", "ask for one of the keys in this file, one a line")
    .option("--cors-origin <origin>", "let pages of this origin call the API, * = all; may be given again", addText)
    .option(
      "--allow-host <name>",
      "name that requests may be sent to, beside this machine's own; may be given again",
      addText,
    );
}

/** What the coordinator has to know of them. */
export function readServing(options: ServingOptions): Partial<CoordinatorOptions> {
  const { determinism, queue, queuePerClient, prefixCache, decodeInFlight, mixedPrefillRows, prefillRows } = options;
  return {
    ...(determinism === undefined ? {} : { determinism }),
    ...(queue === undefined ? {} : { queue }),
    ...(queuePerClient === undefined ? {} : { queuePerClient }),
    ...(options.recoveryWait === undefined ? {} : { recoveryWaitMs: options.recoveryWait }),
    ...(prefixCache === undefined ? {} : { prefixCacheBytes: prefixCache }),
    ...(decodeInFlight === undefined ? {} : { decodeInFlight }),
    ...(mixedPrefillRows === undefined ? {} : { mixedPrefillRows }),
    ...(prefillRows === undefined ? {} : { prefillRows }),
    ...(options.journal === undefined ? {} : { journal: options.journal }),
  };
}

/** Keys that requests must have one of; none = no key is asked for. @throws NoodleError `USAGE`, the errors of the file */
export async function readApiKeys({ apiKey = [], apiKeyFile }: ServingOptions): Promise<readonly string[]> {
  if (apiKeyFile === undefined) return apiKey;
  const text = await readTextFile(apiKeyFile, MAX_KEY_FILE_BYTES, "--api-key-file");
  const keys = text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"));
  // An empty file would leave the door open that it was meant to close.
  if (keys.length === 0) throw new NoodleError("USAGE", `${apiKeyFile} holds no key (--api-key-file)`);
  return [...apiKey, ...keys.map((key) => checkKey(key, "--api-key-file"))];
}

/** null = the model's own. @throws NoodleError the errors of the file */
export async function readChatTemplate({ chatTemplate }: ServingOptions): Promise<string | null> {
  if (chatTemplate === undefined) return null;
  if (chatTemplate === "chatml") return DEFAULT_CHAT_TEMPLATE;
  return readTextFile(chatTemplate, MAX_TEMPLATE_BYTES, "--chat-template");
}

async function readTextFile(path: string, maxBytes: number, option: string): Promise<string> {
  try {
    const { size } = await stat(path);
    if (size <= maxBytes) return await readFile(path, "utf8");
    throw new NoodleError("LIMIT_EXCEEDED", `${path} has ${size} bytes, the limit is ${maxBytes} (${option})`);
  } catch (error) {
    throw NoodleError.from(error, "FILE_UNREADABLE");
  }
}

function readDeterminism(text: string): "recorded" | "strict" {
  if (text === "recorded" || text === "strict") return text;
  throw new NoodleError("USAGE", `--determinism "${text}" is neither recorded nor strict`);
}

function readCache(text: string): number {
  return text.trim() === "0" ? 0 : parseSizeBytes(text, "--prefix-cache");
}

function addText(text: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), text];
}

function addKey(text: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), checkKey(text, "--api-key")];
}

function checkKey(key: string, option: string): string {
  if (key.length >= LEAST_KEY_CHARS && /^[\u0021-\u007e]+$/.test(key)) return key;
  // The message must not show the key.
  throw new NoodleError("USAGE", `${option}: a key has ${LEAST_KEY_CHARS} or more characters of visible ASCII`);
}
