import { create, type MessageInitShape as Init } from "@bufbuild/protobuf";
import { must, NoodleError } from "../../common/index.ts";
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
import { ActiveStage, type ForwardHop } from "./active-stage.ts";
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
  readonly connectHop: (address: string, signal: AbortSignal) => Promise<HopConnection>;
  /** Monotonic. */
  readonly nowMs: () => number;
  readonly random: () => number;
  readonly hopLimits?: HopLimits;
  /** Takes what was seen inside an observed step, behind its delivery. @default nobody */
  readonly onObservation?: (observation: Observation) => void;
}

export type ReplyStream = BidiStream<Init<typeof ForwardReplySchema>, ForwardRequest>;

/** One stage and its StageService, apart from how the service is bound to a port. */
export class StageHost {
  readonly #options: StageHostOptions;
  readonly #counter = new StepCounter();
  #active: ActiveStage | undefined;
  #loaded: LoadedStage | undefined;
  #loadedKey = "";
  #capabilities: Capabilities | undefined;

  constructor(options: StageHostOptions) {
    this.#options = options;
  }

  /** 0 while no stage is loaded. */
  get epoch(): number {
    return this.#active?.epoch ?? 0;
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
    return this.#active?.keeper.sessions.size ?? 0;
  }

  /**
   * Ends the epoch before, loads the stage unless the very same is loaded, tests it, and serves it.
   *
   * @throws the engine's errors; CANARY_MISMATCH when the self-test gives two results
   */
  async load(assignment: HostAssignment): Promise<LoadedStage> {
    await this.retire(this.epoch);
    const { engine } = this.#options;
    const { stageFile, contextTokens, parallel, threads, maxRows, hooks } = assignment;
    const config = { stageFile, contextTokens, parallel, threads, maxRows, hookable: hooks };
    const key = JSON.stringify(config);
    if (this.#loaded === undefined || this.#loadedKey !== key) {
      this.#loaded = undefined;
      const info = await engine.load(config);
      const canarySha256 = await this.#selfTest();
      const rowClassesJson = await engine.probe();
      this.#loaded = { epoch: assignment.epoch, info, canarySha256, rowClassesJson };
      this.#loadedKey = key;
    }
    const loaded = { ...must(this.#loaded, "loaded stage"), epoch: assignment.epoch };
    this.#active = this.#activate(assignment, loaded.info);
    return loaded;
  }

  /** Ends the epoch if it is the current one; the weights stay for the next. */
  async retire(epoch: number): Promise<void> {
    const active = this.#active;
    if (active === undefined || active.epoch !== epoch) return;
    this.#active = undefined;
    await active.retire(new NoodleError("STALE_EPOCH", `epoch ${epoch} has ended on this stage`));
  }

  /** To be called now and then: frees sessions whose lease has run out. */
  async expireSessions(): Promise<void> {
    await this.#active?.keeper.expire(this.#options.nowMs());
  }

  setCapabilities(capabilities: Capabilities): void {
    this.#capabilities = capabilities;
  }

  async close(): Promise<void> {
    await this.retire(this.epoch);
    await this.#options.engine.close();
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
    return { capabilities: { ...capabilities, rowClassesJson: this.#loaded?.rowClassesJson ?? "" } };
  }

  async *readKv(request: ReadKvRequest): AsyncGenerator<Init<typeof KvChunkSchema>, void, undefined> {
    const active = this.#current(Number(request.epoch));
    const session = active.keeper.sessions.get(readSessionId(request.sessionId));
    const layers = await this.#options.engine.readKv(session.slot);
    for (const layer of layers) yield* makeKvChunks(layer, request.hashOnly);
  }

  /** Serves a stream until it ends. */
  executeForward(stream: ReplyStream): void {
    let steps: StepStream | undefined;
    let opened: { active: ActiveStage; sink: ReplySink } | undefined;
    const forget = (): void => opened?.active.forget(opened.sink);
    stream.listen({
      onMessage: ({ message }) => {
        if (message.case === "open" && opened === undefined) {
          const active = this.#checkOpen(message.value);
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

  #checkOpen(open: OpenStream): ActiveStage {
    if (open.protocolVersion !== PROTOCOL_VERSION) {
      const text = `${open.fromNode} speaks protocol ${open.protocolVersion}, this worker ${PROTOCOL_VERSION}`;
      throw new NoodleError("PROTOCOL_MISMATCH", text);
    }
    const active = this.#current(Number(open.epoch));
    if (open.role !== StreamRole.STEPS && open.role !== StreamRole.RESULTS) {
      throw new NoodleError("FRAME_INVALID", `stream role ${open.role}`);
    }
    if (open.role === StreamRole.RESULTS && !active.info.hasHead) {
      throw new NoodleError("FRAME_INVALID", "only the last stage has results");
    }
    return active;
  }

  #current(epoch: number): ActiveStage {
    const active = this.#active;
    if (active === undefined) throw new NoodleError("CLUSTER_NOT_READY", "this worker holds no stage at the moment");
    if (active.epoch !== epoch) {
      throw new NoodleError("STALE_EPOCH", `epoch ${epoch}, this worker serves epoch ${active.epoch}`, {
        details: { haveEpoch: active.epoch },
      });
    }
    return active;
  }

  #activate(assignment: HostAssignment, info: StageInfo): ActiveStage {
    const { engine, nowMs, nodeId, random, connectHop, hopLimits, onObservation = () => undefined } = this.#options;
    const openHop = (onStepError: (stepId: number, error: NoodleError) => void): ForwardHop =>
      new NextHop({
        connect: (signal) => connectHop(assignment.nextAddress, signal),
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

  async #selfTest(): Promise<string> {
    const { engine } = this.#options;
    const first = await engine.canary();
    const second = await engine.canary();
    if (first === second) return first;
    throw new NoodleError("CANARY_MISMATCH", "the self-test gave two results for one input", {
      details: { first, second },
    });
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
