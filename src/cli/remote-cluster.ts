import type { GenerateRequest, ReplanDocument, StatusDocument, WantedPlan } from "../cluster/coordinator/index.ts";
import { must, NoodleError } from "../common/index.ts";
import { type ClientSecurity, createClient, type ServiceClient } from "../net/index.ts";
import { CoordinatorService, writeSessionId } from "../protocol/index.ts";
import type { GenerationEvent } from "./generation.ts";
import { readGenerateEvent, writeGenerateRequest } from "./remote-messages.ts";
import { MAX_TRACE_CHARS, readRequestTrace, type RequestTrace } from "../trace/index.ts";

const STATUS_TIMEOUT_MS = 5000;
const TRACE_TIMEOUT_MS = 60_000;

/** A cluster that runs elsewhere, through its coordinator's gRPC service. */
export class RemoteCluster {
  readonly #client: ServiceClient<typeof CoordinatorService>;

  /**
   * Connects at the first call.
   *
   * @param address host:port
   * @param security undefined = plaintext
   */
  constructor(address: string, security?: ClientSecurity) {
    this.#client = createClient(CoordinatorService, address, { security });
  }

  /** @throws PEER_UNREACHABLE, TIMED_OUT */
  async status(signal: AbortSignal): Promise<StatusDocument> {
    const { json } = await this.#client.rpc.status({}, { timeoutMs: STATUS_TIMEOUT_MS, signal });
    return requireStatus(JSON.parse(json), this.#client.address);
  }

  /** As `Coordinator.generate`; also PEER_UNREACHABLE. */
  async *generate(request: GenerateRequest, signal: AbortSignal): AsyncGenerator<GenerationEvent, void, undefined> {
    for await (const message of this.#client.rpc.generate(writeGenerateRequest(request), { signal })) {
      yield readGenerateEvent(message);
    }
  }

  /** What a generation looked like from inside. @throws SESSION_NOT_FOUND, USAGE, TRACE_INVALID, PEER_UNREACHABLE */
  async readTrace(sessionId: string, signal: AbortSignal): Promise<RequestTrace> {
    const pieces: Uint8Array[] = [];
    let bytes = 0;
    const options = { timeoutMs: TRACE_TIMEOUT_MS, signal };
    for await (const { data } of this.#client.rpc.readTrace({ sessionId: writeSessionId(sessionId) }, options)) {
      bytes += data.length;
      if (bytes > MAX_TRACE_CHARS) {
        throw new NoodleError("TRACE_INVALID", `a trace of more than ${MAX_TRACE_CHARS} bytes`);
      }
      pieces.push(data);
    }
    return readRequestTrace(Buffer.concat(pieces).toString("utf8"));
  }

  /**
   * Gives the cluster another plan, or says what it would change.
   *
   * @throws as `Coordinator.replan`; PEER_UNREACHABLE, TIMED_OUT
   */
  async replan(
    { split, order, terms, modelHeaderSha256 }: WantedPlan,
    reason: string,
    dryRun: boolean,
    signal: AbortSignal,
  ): Promise<ReplanDocument> {
    const request = {
      split,
      order: [...order],
      planSha256: terms.sha256,
      decodeInFlight: terms.decodeInFlight ?? 0,
      maxDecodeRows: terms.maxDecodeRows ?? 0,
      prefillRows: terms.prefillRows ?? 0,
      mixedPrefillRows: terms.mixedPrefillRows ?? 0,
      predictedPeriodMs: terms.predictedPeriodMs ?? 0,
      predictedLatencyMs: terms.predictedLatencyMs ?? 0,
      predictedTokensPerS: terms.predictedTokensPerSec ?? 0,
      modelHeaderSha256: new Uint8Array(Buffer.from(modelHeaderSha256 ?? "", "hex")),
      reason,
      dryRun,
    };
    const { json } = await this.#client.rpc.replan(request, { timeoutMs: STATUS_TIMEOUT_MS, signal });
    return JSON.parse(json) as ReplanDocument;
  }

  /** @throws as `Coordinator.drain`; PEER_UNREACHABLE, TIMED_OUT */
  async drain(drainNode: string, dryRun: boolean, signal: AbortSignal): Promise<ReplanDocument> {
    const { json } = await this.#client.rpc.replan({ drainNode, dryRun }, { timeoutMs: STATUS_TIMEOUT_MS, signal });
    return JSON.parse(json) as ReplanDocument;
  }

  close(): void {
    this.#client.close();
  }
}

/** @throws PROTOCOL_MISMATCH naming who answered with something else */
export function requireStatus(document: unknown, address: string): StatusDocument {
  if (isStatus(document)) return document;
  throw new NoodleError("PROTOCOL_MISMATCH", `${address} answered with no noodle.status.v1`);
}

function isStatus(value: unknown): value is StatusDocument {
  return typeof value === "object" && value !== null && "schema" in value && value.schema === "noodle.status.v1";
}

/**
 * What the reference has to know of a cluster; all workers must compute with the same number of threads.
 *
 * @throws USAGE when they do not: then no single reference repeats what they do
 */
export function readClusterThreads(status: StatusDocument): number {
  if (status.coordinator.threads > 0) return status.coordinator.threads;
  const holders = status.nodes.filter((node) => node.units !== null);
  const threads = new Set(holders.map((node) => Number(node.capabilities["threads"])));
  if (threads.size !== 1) {
    throw new NoodleError(
      "USAGE",
      `--verify needs workers with one number of threads, these have ${[...threads].join(", ")} (--threads)`,
    );
  }
  return must([...threads][0], "number of threads");
}
