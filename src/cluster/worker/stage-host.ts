import { create, type MessageInitShape as Init } from "@bufbuild/protobuf";
import { must, NoodleError, sum } from "../../common/index.ts";
import type { StageInfo } from "../../engine/index.ts";
import type { BidiStream } from "../../net/index.ts";
import {
  type Capabilities,
  type CloseSessionRequest,
  type CreateSessionRequest,
  type CreateSessionResponseSchema,
  type ForwardReplySchema,
  type ForwardRequest,
  type KvChunkSchema,
  type Observation,
  OpenedSchema,
  type OpenStream,
  type PingRequest,
  type PingResponseSchema,
  PROTOCOL_VERSION,
  type ReadKvRequest,
  type ReportCapabilitiesResponseSchema,
  readSessionId,
  StreamRole,
} from "../../protocol/index.ts";
import type { PeerIdentity } from "../../security/index.ts";
import { checkSender } from "./access.ts";
import { ActiveStage, type ForwardHop } from "./active-stage.ts";
import { EngineHolder } from "./engine-holder.ts";
import type { HostAssignment, LoadedStage } from "./host-messages.ts";
import { makeKvChunks } from "./kv-chunks.ts";
import { type HopConnection, type HopLimits, NextHop } from "./next-hop.ts";
import type { ReplySink } from "./reply-sink.ts";
import type { CloseOutcome } from "./session-keeper.ts";
import type { AsyncEngine } from "./stage-thread.ts";
import { STREAM_CREDITS, StepStream } from "./step-stream.ts";
import type { WorkerTotals } from "../../observe/index.ts";
import { StepCounter } from "./step-totals.ts";

export interface StageHostOptions {
  readonly nodeId: string;
  readonly engine: AsyncEngine;
  /** Starts another engine for a stage beside those that serve; it is closed with its stage. @default none: it is refused */
  readonly startEngine?: () => Promise<AsyncEngine>;
  readonly connectHop: (address: string, signal: AbortSignal, nodeId: string) => Promise<HopConnection>;
  /** Monotonic. */
  readonly nowMs: () => number;
  readonly random: () => number;
  readonly hopLimits?: HopLimits;
  /** Takes what was seen inside an observed step, behind its delivery. @default nobody */
  readonly onObservation?: (observation: Observation) => void;
}

/** A stage that serves. */
interface Activated {
  readonly stage: ActiveStage;
  readonly holder: EngineHolder;
  /** Empty for the first stage. */
  readonly previousNodeId: string;
}

export type ReplyStream = BidiStream<Init<typeof ForwardReplySchema>, ForwardRequest>;

/**
 * The stages of a worker and their StageService, apart from how the service is bound to a port. There is one stage, or
 * two while a plan follows another; each answers to its own epoch alone.
 */
export class StageHost {
  readonly #options: StageHostOptions;
  readonly #counter = new StepCounter();
  /** Those that serve, by epoch, the oldest first. */
  readonly #active = new Map<number, Activated>();
  /** The one whose stage stays loaded when its epoch ends. */
  #holder: EngineHolder;
  #capabilities: Capabilities | undefined;

  constructor(options: StageHostOptions) {
    this.#options = options;
    this.#holder = new EngineHolder(options.engine);
  }

  /** Of the newest stage; 0 while none is loaded. */
  get epoch(): number {
    return Math.max(0, ...this.#active.keys());
  }

  /** What it has done since its start. */
  get totals(): WorkerTotals {
    return this.#counter.totals;
  }

  /** Time that its engine has computed since its start. */
  get engineNs(): number {
    return this.#counter.engineNs;
  }

  get sessions(): number {
    return sum([...this.#active.values()].map(({ stage }) => stage.keeper.sessions.size));
  }

  /**
   * Loads the stage unless the very same is loaded, tests it, and serves it. The epochs before end first, unless it is
   * loaded beside them.
   *
   * @throws the engine's errors; CANARY_MISMATCH when the self-test gives two results; ILLEGAL_STATE where there is no
   * engine for a second stage. Stages beside it go on.
   */
  async load(assignment: HostAssignment): Promise<LoadedStage> {
    if (assignment.beside !== true) await this.#retireAll();
    const holder = this.#active.size === 0 ? this.#holder : await this.#startBeside();
    try {
      const loaded = { ...(await holder.load(assignment)), epoch: assignment.epoch };
      const stage = this.#activate(assignment, loaded.info, holder.engine);
      this.#active.set(assignment.epoch, { stage, holder, previousNodeId: assignment.previousNodeId ?? "" });
      this.#holder = holder;
      return loaded;
    } catch (error) {
      if (holder !== this.#holder) await holder.engine.close();
      throw error;
    }
  }

  /** Ends the epoch if it serves. The weights of the last one stay for the next. */
  async retire(epoch: number): Promise<void> {
    const active = this.#active.get(epoch);
    if (active === undefined) return;
    this.#active.delete(epoch);
    await active.stage.retire(new NoodleError("STALE_EPOCH", `epoch ${epoch} has ended on this stage`));
    const last = [...this.#active.values()].at(-1);
    if (last === undefined) return;
    this.#holder = last.holder;
    await active.holder.engine.close();
  }

  /** To be called now and then: frees sessions whose lease has run out. */
  async expireSessions(): Promise<void> {
    for (const { stage } of this.#active.values()) await stage.keeper.expire(this.#options.nowMs());
  }

  setCapabilities(capabilities: Capabilities): void {
    this.#capabilities = capabilities;
  }

  async close(): Promise<void> {
    await this.#retireAll();
    await this.#holder.engine.close();
  }

  async createSession(request: CreateSessionRequest): Promise<Init<typeof CreateSessionResponseSchema>> {
    const active = this.#current(Number(request.epoch));
    return { nextPosition: await active.keeper.open(request, this.#options.nowMs()) };
  }

  closeSession(request: CloseSessionRequest): Promise<CloseOutcome> {
    return this.#current(Number(request.epoch)).keeper.close(request);
  }

  ping(request: PingRequest): Init<typeof PingResponseSchema> {
    const startNs = process.hrtime.bigint();
    const { payload } = request;
    const { nodeId } = this.#options;
    const epoch = BigInt(this.epoch);
    const monoNs = process.hrtime.bigint();
    return { payload, nodeId, epoch, insideNs: monoNs - startNs, monoNs };
  }

  reportCapabilities(): Init<typeof ReportCapabilitiesResponseSchema> {
    const capabilities = must(this.#capabilities, "capabilities");
    return { capabilities: { ...capabilities, rowClassesJson: this.#holder.loaded?.rowClassesJson ?? "" } };
  }

  async *readKv(request: ReadKvRequest): AsyncGenerator<Init<typeof KvChunkSchema>, void, undefined> {
    const { stage, holder } = this.#find(Number(request.epoch));
    const session = stage.keeper.sessions.get(readSessionId(request.sessionId));
    const layers = await holder.engine.readKv(session.slot);
    for (const layer of layers) yield* makeKvChunks(layer, request.hashOnly);
  }

  /** Serves a stream until it ends. */
  executeForward(stream: ReplyStream, identity: PeerIdentity | null = null): void {
    let steps: StepStream | undefined;
    let opened: { active: ActiveStage; sink: ReplySink } | undefined;
    const forget = (): void => opened?.active.forget(opened.sink);
    stream.listen({
      onMessage: ({ message }) => {
        if (message.case === "open" && opened === undefined) {
          const active = this.#checkOpen(message.value, identity);
          const sink = makeSink(stream);
          opened = { active, sink };
          if (message.value.role === StreamRole.RESULTS) active.resultSinks.add(sink);
          else steps = new StepStream(active, sink, this.#options.nodeId);
          active.streams.add(sink);
          const value = create(OpenedSchema, {
            epoch: message.value.epoch,
            nodeId: this.#options.nodeId,
            credits: steps === undefined ? 0 : STREAM_CREDITS,
          });
          stream.send({ message: { case: "opened", value } });
        } else if (message.case === "chunk" && steps !== undefined) {
          steps.take(message.value.data, message.value.last);
        } else {
          throw new NoodleError("FRAME_INVALID", `unexpected message "${message.case ?? "none"}" on a stream`);
        }
      },
      onEnd: () => {
        forget();
        stream.end();
      },
      onError: forget,
    });
  }

  #checkOpen(open: OpenStream, identity: PeerIdentity | null): ActiveStage {
    if (open.protocolVersion !== PROTOCOL_VERSION) {
      const text = `${open.fromNode} speaks protocol ${open.protocolVersion}, this worker ${PROTOCOL_VERSION}`;
      throw new NoodleError("PROTOCOL_MISMATCH", text);
    }
    const { stage: active, previousNodeId } = this.#find(Number(open.epoch));
    checkSender(identity, open.role, previousNodeId);
    if (open.role !== StreamRole.STEPS && open.role !== StreamRole.RESULTS) {
      throw new NoodleError("FRAME_INVALID", `stream role ${open.role}`);
    }
    if (open.role === StreamRole.RESULTS && !active.info.hasHead) {
      throw new NoodleError("FRAME_INVALID", "only the last stage has results");
    }
    return active;
  }

  #current(epoch: number): ActiveStage {
    return this.#find(epoch).stage;
  }

  #find(epoch: number): Activated {
    const found = this.#active.get(epoch);
    if (found !== undefined) return found;
    if (this.#active.size === 0) {
      throw new NoodleError("CLUSTER_NOT_READY", "this worker holds no stage at the moment");
    }
    const have = [...this.#active.keys()].join(" and ");
    throw new NoodleError("STALE_EPOCH", `epoch ${epoch}, this worker serves epoch ${have}`, {
      details: { haveEpoch: this.epoch },
    });
  }

  async #retireAll(): Promise<void> {
    for (const epoch of this.#active.keys()) await this.retire(epoch);
  }

  async #startBeside(): Promise<EngineHolder> {
    const { startEngine } = this.#options;
    if (startEngine === undefined) throw new NoodleError("ILLEGAL_STATE", "this worker has one engine for one stage");
    return new EngineHolder(await startEngine());
  }

  #activate(assignment: HostAssignment, info: StageInfo, engine: AsyncEngine): ActiveStage {
    const { nowMs, nodeId, random, connectHop, hopLimits, onObservation = () => undefined } = this.#options;
    const openHop = (onStepError: (stepId: number, error: NoodleError) => void): ForwardHop =>
      new NextHop({
        connect: (signal) => connectHop(assignment.nextAddress, signal, assignment.nextNodeId),
        epoch: assignment.epoch,
        nodeId,
        peer: assignment.nextNodeId === "" ? assignment.nextAddress : assignment.nextNodeId,
        onStepError,
        random,
        ...hopLimits,
      });
    const stage = { assignment, info, engine, nodeId, nowMs, onObservation, counter: this.#counter };
    return new ActiveStage(info.hasHead ? stage : { ...stage, openHop });
  }
}

function makeSink(stream: ReplyStream): ReplySink {
  return {
    write: (message) => stream.write({ message }),
    pause: () => stream.pause(),
    resume: () => stream.resume(),
    fail: (error) => stream.cancel(error),
  };
}
