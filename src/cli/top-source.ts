import { NoodleError } from "../common/index.ts";
import type { ClientSecurity } from "../net/index.ts";
import { RemoteCluster } from "./remote-cluster.ts";
import { describeTop, type TopDocument } from "./top-document.ts";

/** Where the figures come from, asked again and again. */
export interface TopSource {
  /** @throws PEER_UNREACHABLE, TIMED_OUT, PROTOCOL_MISMATCH, CLUSTER_NOT_READY */
  read(signal: AbortSignal): Promise<TopDocument>;
  close(): void;
}

const TIMEOUT_MS = 5000;
/** A status of a thousand nodes is far below. */
const MAX_BODY_BYTES = 16 * 2 ** 20;

/** @param address host:port of the coordinator's gRPC service */
export function openGrpcSource(address: string, security?: ClientSecurity): TopSource {
  const cluster = new RemoteCluster(address, security);
  return {
    read: async (signal) => describeTop(await cluster.status(signal), address),
    close: () => cluster.close(),
  };
}

export interface HttpSourceOptions {
  /** Id of one of several models. @default the first */
  readonly model?: string | undefined;
  /** API key. @default none */
  readonly key?: string | undefined;
}

/** @param base of the coordinator's HTTP server. @throws USAGE unless it is an http or https URL */
export function openHttpSource(base: string, { model, key }: HttpSourceOptions = {}): TopSource {
  const url = URL.canParse(base) ? new URL(base) : null;
  if (url === null || (url.protocol !== "http:" && url.protocol !== "https:")) {
    throw new NoodleError("USAGE", `--url "${base}" is not a URL such as http://127.0.0.1:7420`);
  }
  if (url.pathname === "/") url.pathname = "/v1/status";
  if (model !== undefined) url.searchParams.set("model", model);
  const headers = key === undefined || key === "" ? {} : { authorization: `Bearer ${key}` };
  return {
    read: async (signal) => describeTop(await fetchJson(url, headers, signal), url.host),
    close: () => undefined,
  };
}

async function fetchJson(url: URL, headers: Readonly<Record<string, string>>, signal: AbortSignal): Promise<unknown> {
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  try {
    const response = await fetch(url, { headers, signal: AbortSignal.any([signal, timeout]) });
    const text = await readBody(response, url);
    if (response.status === 503) {
      throw new NoodleError("CLUSTER_NOT_READY", `${url.host}: the coordinator is being started`);
    }
    if (response.status === 401) {
      throw new NoodleError("USAGE", `${url.host} asks for an API key: put it into NOODLE_API_KEY`);
    }
    if (response.status === 404 && url.searchParams.has("model")) {
      throw new NoodleError(
        "MODEL_NOT_FOUND",
        `${url.host} serves no model "${url.searchParams.get("model")}" (--model)`,
      );
    }
    if (!response.ok) throw new NoodleError("PROTOCOL_MISMATCH", `${url.href} answered with ${response.status}`);
    return parseJson(text, url);
  } catch (error) {
    if (error instanceof NoodleError) throw error;
    if (signal.aborted) throw signal.reason;
    if (timeout.aborted) {
      throw new NoodleError("TIMED_OUT", `no answer from ${url.host} within ${TIMEOUT_MS} ms`, { cause: error });
    }
    throw new NoodleError("PEER_UNREACHABLE", `nothing answers at ${url.host} (--url)`, { cause: error });
  }
}

async function readBody(response: Response, url: URL): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body ?? []) {
    size += chunk.byteLength;
    if (size > MAX_BODY_BYTES) {
      throw new NoodleError("PROTOCOL_MISMATCH", `${url.host} answered with more than ${MAX_BODY_BYTES} bytes`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function parseJson(text: string, url: URL): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new NoodleError("PROTOCOL_MISMATCH", `${url.href} answered with no JSON`, { cause: error });
  }
}
