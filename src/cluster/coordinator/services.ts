import { bindService, type ServiceBinding } from "../../net/index.ts";
import { CoordinatorService, readSessionId, type SessionId, TransferService } from "../../protocol/index.ts";
import type { GenerateEvent } from "./generate-event.ts";
import { readGenerateRequest, writeEvent } from "./generate-messages.ts";
import type { GenerateRequest } from "./generate-request.ts";
import { readReplanRequest } from "./replan-message.ts";
import type { WantedPlan } from "./replan-request.ts";
import type { ReplanDocument, ReplanOptions } from "./replanner.ts";
import type { StatusDocument } from "./status.ts";
import type { TransferHandler } from "./transfer.ts";
import type { WorkerLinks } from "./workers.ts";

/** What the coordinator's gRPC service needs of the coordinator. */
export interface CoordinatorCalls {
  readonly epoch: number;
  generate(request: GenerateRequest, signal: AbortSignal): AsyncIterable<GenerateEvent>;
  status(): StatusDocument;
  /** @throws USAGE where no traces are kept, SESSION_NOT_FOUND */
  readTrace(sessionId: SessionId): object;
  replan(wanted: WantedPlan, reason: string, options?: ReplanOptions): ReplanDocument;
  drain(node: string, options?: ReplanOptions): ReplanDocument;
}

/** Piece of a trace in one message. */
const TRACE_CHUNK_BYTES = 1024 * 1024;

export function bindCoordinator(coordinator: CoordinatorCalls, links: WorkerLinks): ServiceBinding {
  return bindService(CoordinatorService, {
    join: (stream, { identity }) => links.accept(stream, identity),
    generate: async function* (request, { signal }) {
      for await (const event of coordinator.generate(readGenerateRequest(request), signal)) {
        yield* writeEvent(event);
      }
    },
    status: () => ({ json: JSON.stringify(coordinator.status()) }),
    ping: ({ payload }) => {
      const startNs = process.hrtime.bigint();
      const epoch = BigInt(coordinator.epoch);
      const monoNs = process.hrtime.bigint();
      return { payload, nodeId: "coordinator", epoch, insideNs: monoNs - startNs, monoNs };
    },
    readTrace: async function* ({ sessionId }) {
      const json = Buffer.from(JSON.stringify(coordinator.readTrace(readSessionId(sessionId))));
      for (let at = 0; at < json.length; at += TRACE_CHUNK_BYTES) {
        yield { data: json.subarray(at, at + TRACE_CHUNK_BYTES) };
      }
    },
    replan: (request) => {
      const reason = request.reason === "" ? "somebody asked for it" : request.reason;
      if (request.drainNode !== "") {
        return { json: JSON.stringify(coordinator.drain(request.drainNode, { dryRun: request.dryRun })) };
      }
      const wanted = readReplanRequest(request);
      return { json: JSON.stringify(coordinator.replan(wanted, reason, { dryRun: request.dryRun })) };
    },
  });
}

export function bindTransfer(transfer: TransferHandler): ServiceBinding {
  return bindService(TransferService, {
    fetchRanges: (request, { signal }) => transfer.fetchRanges(request, signal),
  });
}
