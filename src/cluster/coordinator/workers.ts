import type { MessageInitShape } from "@bufbuild/protobuf";
import { type BusyReading, must, NoodleError } from "../../common/index.ts";
import type { BidiStream } from "../../net/index.ts";
import {
  type CoordinatorMessageSchema,
  type Observation,
  type Register,
  toErrorInfo,
  type WorkerMessage,
} from "../../protocol/index.ts";
import { type PeerIdentity, writeIdentity } from "../../security/index.ts";
import { type ClusterEvent, type Fault, judgeRegistration } from "../state/index.ts";
import type { Clock } from "./clock.ts";
import type { Control } from "./control.ts";
import { readRegistration, readStageReport, toNumber } from "./convert.ts";

type CoordinatorMessageInit = MessageInitShape<typeof CoordinatorMessageSchema>;
type Said = NonNullable<CoordinatorMessageInit["message"]>;
type JoinStream = BidiStream<CoordinatorMessageInit, WorkerMessage>;

/** A worker that connects says who it is within this time. */
const REGISTER_TIMEOUT_MS = 5000;

const HEARTBEAT_MS = 500;

export interface WorkerLinksOptions {
  readonly control: Control;
  readonly clock: Clock;
  readonly coordinatorEpoch: number;
  readonly leaseMs: number;
  /** Nodes that are shut out. @default none */
  readonly readRevoked?: () => ReadonlySet<string>;
  readonly onObservation: (nodeId: string, observation: Observation) => void;
  /** Observations that the worker has dropped since its start. */
  readonly onDropped: (nodeId: string, count: number) => void;
  /** How long the worker's engine thread has computed. */
  readonly onBusy: (nodeId: string, reading: BusyReading) => void;
}

/** The control streams of the workers: turns their messages into events, and carries what they are told. */
export class WorkerLinks {
  readonly #options: WorkerLinksOptions;
  /** By node id; the connection of the latest registration. */
  readonly #links = new Map<string, { readonly incarnation: string; readonly stream: JoinStream }>();
  readonly #strangers = new Set<JoinStream>();

  constructor(options: WorkerLinksOptions) {
    this.#options = options;
  }

  /** Serves one worker's control stream until it ends. */
  accept(stream: JoinStream, identity: PeerIdentity | null = null): void {
    this.#strangers.add(stream);
    const timer = setTimeout(() => {
      stream.cancel(new NoodleError("TIMED_OUT", `${stream.peer} did not register within ${REGISTER_TIMEOUT_MS} ms`));
      this.#strangers.delete(stream);
    }, REGISTER_TIMEOUT_MS);
    let nodeId: string | null = null;
    let incarnation = "";
    const gone = (why: string): void => {
      clearTimeout(timer);
      this.#strangers.delete(stream);
      // A stream that was dropped, or replaced by a newer one of the same worker, says nothing about the worker.
      if (nodeId !== null && this.#links.get(nodeId)?.stream === stream) this.#lose(nodeId, incarnation, why);
    };
    stream.listen({
      onMessage: ({ message }) => {
        if (message.case === "register") {
          if (nodeId !== null) throw new NoodleError("FRAME_INVALID", "a second registration on one stream");
          clearTimeout(timer);
          this.#strangers.delete(stream);
          const registered = this.#register(message.value, stream, identity);
          if (registered !== null) ({ nodeId, incarnation } = registered);
        } else if (nodeId !== null) {
          this.#receive(message, must(nodeId, "node id"), incarnation);
        } else if (message.case !== undefined) {
          throw new NoodleError("FRAME_INVALID", `"${message.case}" before the registration`);
        }
      },
      onEnd: () => {
        gone("closed its control stream");
        stream.end();
      },
      onError: (error) => gone(`lost its control stream: ${error.message}`),
    });
  }

  /** Says something to a worker; without effect when it is gone. */
  tell(nodeId: string, message: Said): void {
    const link = this.#links.get(nodeId);
    if (link !== undefined) trySend(link.stream, message);
  }

  /** Tells all workers who was shut out, and ends the control streams of those. */
  expel(revoked: ReadonlySet<string>): void {
    for (const [nodeId, { stream }] of this.#links) {
      if (!revoked.has(nodeId)) trySend(stream, { case: "revoked", value: { nodeIds: [...revoked] } });
      else stream.cancel(new NoodleError("ACCESS_DENIED", `node ${nodeId} was shut out of the cluster`));
    }
  }

  /** Ends a worker's control stream. */
  drop(nodeId: string, incarnation: string, error: NoodleError): void {
    const link = this.#links.get(nodeId);
    if (link === undefined || link.incarnation !== incarnation) return;
    this.#links.delete(nodeId);
    link.stream.cancel(error);
  }

  /** Tells every worker that the coordinator stops, and ends their streams. */
  close(reason: string): void {
    for (const { stream } of this.#links.values()) {
      trySend(stream, { case: "shutdown", value: { reason } });
      stream.end();
    }
    for (const stream of this.#strangers) stream.end();
    this.#links.clear();
    this.#strangers.clear();
  }

  /** @returns null when the worker was refused, and told so */
  #register(
    message: Register,
    stream: JoinStream,
    identity: PeerIdentity | null,
  ): { nodeId: string; incarnation: string } | null {
    const { control, clock, coordinatorEpoch, leaseMs } = this.#options;
    const registration = readRegistration(message);
    const refusal = checkName(identity, registration.nodeId) ?? judgeRegistration(control.state, registration);
    if (refusal !== null) {
      const error = new NoodleError(refusal.code, refusal.message);
      trySend(stream, { case: "refused", value: toErrorInfo(error) });
      stream.end();
      return null;
    }
    const { nodeId, incarnation } = registration;
    const former = this.#links.get(nodeId);
    if (former !== undefined) {
      this.drop(nodeId, former.incarnation, new NoodleError("STALE_EPOCH", `node ${nodeId} has registered again`));
    }
    this.#links.set(nodeId, { incarnation, stream });
    const registered = { nodeId, coordinatorEpoch: BigInt(coordinatorEpoch), heartbeatMs: HEARTBEAT_MS, leaseMs };
    trySend(stream, { case: "registered", value: registered });
    const nodeIds = [...(this.#options.readRevoked?.() ?? [])];
    if (nodeIds.length > 0) trySend(stream, { case: "revoked", value: { nodeIds } });
    control.dispatch({ type: "registered", registration, nowMs: clock.nowMs() });
    return { nodeId, incarnation };
  }

  #receive(message: WorkerMessage["message"], nodeId: string, incarnation: string): void {
    const nowMs = this.#options.clock.nowMs();
    const from = { nodeId, incarnation };
    let event: ClusterEvent;
    switch (message.case) {
      case "heartbeat": {
        const { rssBytes, sessions, seq, observationsDropped, engineBusyNs, engineWallNs } = message.value;
        // Only their differences count: what is beyond exact integers after months does no harm.
        this.#options.onBusy(nodeId, { busyNs: Number(engineBusyNs), wallNs: Number(engineWallNs) });
        this.#options.onDropped(nodeId, toNumber(observationsDropped, "observations_dropped"));
        this.tell(nodeId, { case: "heartbeatAck", value: { seq } });
        event = { type: "heartbeat", ...from, rssBytes: toNumber(rssBytes, "rss_bytes"), sessions, nowMs };
        break;
      }
      case "stage":
        event = { type: "stageReported", ...from, stage: readStageReport(message.value, nodeId), nowMs };
        break;
      case "leaving":
        event = { type: "leaving", ...from };
        break;
      case "observation":
        this.#options.onObservation(nodeId, message.value);
        return;
      default:
        return;
    }
    this.#options.control.dispatch(event);
  }

  #lose(nodeId: string, incarnation: string, why: string): void {
    this.#links.delete(nodeId);
    const node = this.#options.control.state.nodes.get(nodeId);
    const fault: Fault = { code: "PEER_DEAD", message: `worker ${node?.name ?? nodeId} (${nodeId}) ${why}`, nodeId };
    this.#options.control.dispatch({ type: "lost", nodeId, incarnation, fault });
  }
}

/** A node registers under the name that its certificate gives it. */
function checkName(identity: PeerIdentity | null, nodeId: string): Pick<NoodleError, "code" | "message"> | null {
  if (identity === null || (identity.role === "node" && identity.nodeId === nodeId)) return null;
  return new NoodleError("ACCESS_DENIED", `${writeIdentity(identity)} registers as node ${nodeId}`);
}

/** A stream that has ended reports it to its listener; the sender need not care. */
function trySend(stream: JoinStream, message: Said): void {
  try {
    stream.send({ message });
  } catch (error) {
    if (!(error instanceof NoodleError)) throw error;
  }
}
