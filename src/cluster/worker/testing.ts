/** Helpers of this folder's tests: a stage host without processes, and the coordinator's side of its streams. */
import type { MessageInitShape as Init } from "@bufbuild/protobuf";
import { NoodleError } from "../../common/index.ts";
import { FakeStage, type KvLayer, type LoadedEngine, type StageConfig, type StageInfo } from "../../engine/index.ts";
import { createClient, createServer, type ServiceClient } from "../../net/index.ts";
import {
  type CreateSessionRequestSchema,
  encodeFrame,
  type ForwardReply,
  type Frame,
  type FrameRun,
  fromErrorInfo,
  type Observation,
  type Opened,
  type OpenStreamSchema,
  PROTOCOL_VERSION,
  type StepAck,
  type StepError,
  type StepResult,
  StageService,
  StreamRole,
  writeSessionId,
} from "../../protocol/index.ts";
import type { ForwardOutput, ForwardRequest } from "./engine-messages.ts";
import type { HostAssignment, LoadedStage } from "./host-messages.ts";
import { Lane } from "./lane.ts";
import type { ForwardStream } from "./next-hop.ts";
import { StageHost } from "./stage-host.ts";
import { bindStageService, connectHop } from "./stage-service.ts";
import type { AsyncEngine } from "./stage-thread.ts";

export const LAYERS = 2;
export const EPOCH = 5;

type FakeModel = ConstructorParameters<typeof FakeStage>[0];

/** An engine on the caller's thread that does one thing after another, and whose forward calls a test can hold back. */
export class InlineEngine implements AsyncEngine {
  /** Every forward waits for it. */
  gate: Promise<void> = Promise.resolve();
  forwards = 0;
  readonly closedSlots: number[] = [];
  /** What slots were opened with. */
  readonly opened: Parameters<FakeStage["openSlot"]>[] = [];
  /** Pads of each forward. */
  readonly pads: (readonly number[])[] = [];
  readonly #calls = new Lane();
  readonly #model: FakeModel;
  #stage: FakeStage | undefined;

  constructor(model: FakeModel) {
    this.#model = model;
  }

  async start(): Promise<LoadedEngine> {
    return { build: "fake", variant: "fake", devices: [] };
  }

  async load(config: StageConfig): Promise<StageInfo> {
    this.#stage = new FakeStage(this.#model, config);
    return this.#stage.info;
  }

  async probe(): Promise<string> {
    return "";
  }

  openSlot(...args: Parameters<FakeStage["openSlot"]>): Promise<void> {
    this.opened.push(args);
    return this.#calls.run(async () => this.#loaded().openSlot(...args));
  }

  closeSlot(slot: number, keep: boolean): Promise<number> {
    return this.#calls.run(async () => {
      this.closedSlots.push(slot);
      this.#loaded().closeSlot(slot, keep);
      return this.#loaded().keptTokens(slot);
    });
  }

  forward({ input, truncations, wantLogits, observe }: ForwardRequest): Promise<ForwardOutput> {
    this.forwards += 1;
    this.pads.push(input.pads ?? []);
    return this.#calls.run(async () => {
      await this.gate;
      for (const { slot, position } of truncations) this.#loaded().truncate(slot, position);
      const startNs = Number(process.hrtime.bigint());
      const output = this.#loaded().forward(input, observe === null ? { wantLogits } : { wantLogits, observe });
      return { ...output, startNs, endNs: Number(process.hrtime.bigint()) };
    });
  }

  readKv(slot: number): Promise<readonly KvLayer[]> {
    return this.#calls.run(async () => this.#loaded().readKv(slot));
  }

  async canary(): Promise<string> {
    return this.#loaded().canary();
  }

  async close(): Promise<void> {
    this.#stage?.close();
  }

  #loaded(): FakeStage {
    if (this.#stage === undefined) throw new NoodleError("ILLEGAL_STATE", "nothing is loaded");
    return this.#stage;
  }
}

export interface TestHost {
  readonly host: StageHost;
  readonly engine: InlineEngine;
  readonly address: string;
  readonly client: ServiceClient<typeof StageService>;
  /** Monotonic time of the host, in ms; add to it to let time pass. */
  readonly clock: { ms: number };
  load(change?: Partial<HostAssignment>): Promise<LoadedStage>;
  /** Cuts every connection, as the death of the process would. */
  kill(): Promise<void>;
  close(): Promise<void>;
}

export async function startTestHost(
  first: number,
  end: number,
  faults?: FakeModel["faults"],
  port = 0,
  onObservation: (observation: Observation) => void = () => undefined,
): Promise<TestHost> {
  const units = { first, end };
  const engine = new InlineEngine({
    units,
    layers: LAYERS,
    nEmbd: 4,
    nVocab: 50,
    ...(faults === undefined ? {} : { faults }),
  });
  const clock = { ms: 0 };
  const nodeId = `node-${first}`;
  const hopLimits = { stallMs: 800, connectWaitMs: 1000 };
  const host = new StageHost({
    nodeId,
    engine,
    connectHop,
    nowMs: () => clock.ms,
    random: () => 0.5,
    hopLimits,
    onObservation,
  });
  const server = createServer({ services: [bindStageService(host)], port, nodeId });
  const address = `127.0.0.1:${await server.start()}`;
  const client = createClient(StageService, address);
  return {
    host,
    engine,
    address,
    client,
    clock,
    load: (change = {}) =>
      host.load({
        epoch: EPOCH,
        stage: 0,
        stageFile: "fake",
        threads: 1,
        contextTokens: 32,
        parallel: 4,
        maxRows: 16,
        nextAddress: "",
        nextNodeId: "",
        hooks: true,
        ...change,
      }),
    kill: () => server.close(0),
    close: async () => {
      client.close();
      await host.close();
      await server.close(0);
    },
  };
}

interface ReplyValues {
  opened: Opened;
  ack: StepAck;
  result: StepResult;
  error: StepError;
}

/** The coordinator's side of one stream. */
export class TestStream {
  readonly #stream: ForwardStream;
  readonly #received: ForwardReply["message"][] = [];
  #wake: (() => void) | undefined;
  #ended: NoodleError | undefined;

  constructor(stream: ForwardStream) {
    this.#stream = stream;
    stream.listen({
      onMessage: ({ message }) => {
        this.#received.push(message);
        this.#wake?.();
      },
      onEnd: () => this.#end(new NoodleError("INTERRUPTED", "the stream has ended")),
      onError: (error) => this.#end(error),
    });
  }

  static async open(
    client: ServiceClient<typeof StageService>,
    role: StreamRole = StreamRole.STEPS,
    change: Init<typeof OpenStreamSchema> = {},
  ): Promise<TestStream> {
    const stream = new TestStream(await client.rpc.executeForward());
    const open = { epoch: BigInt(EPOCH), role, fromNode: "coordinator", protocolVersion: PROTOCOL_VERSION, ...change };
    stream.#stream.send({ message: { case: "open", value: open } });
    await stream.next("opened");
    return stream;
  }

  send(frame: Frame, corrupt: (bytes: Uint8Array) => void = () => undefined): void {
    const data = encodeFrame(frame);
    corrupt(data);
    this.#stream.send({ message: { case: "chunk", value: { data, last: true } } });
  }

  cancel(): void {
    this.#stream.cancel();
  }

  get received(): number {
    return this.#received.length;
  }

  /** The next message, which must be of this kind. @throws the error that ended the stream */
  async next<K extends keyof ReplyValues>(kind: K): Promise<ReplyValues[K]> {
    return (await this.nextOf(kind)).value;
  }

  async nextOf<K extends keyof ReplyValues>(...kinds: readonly K[]): Promise<{ case: K; value: ReplyValues[K] }> {
    while (this.#received.length === 0 && this.#ended === undefined) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const message = this.#received.shift();
    if (message === undefined) throw this.#ended ?? new NoodleError("INTERNAL", "nothing came");
    if (kinds.some((kind) => kind === message.case)) return message as { case: K; value: ReplyValues[K] };
    const text = JSON.stringify(message.value, (_key, value: unknown) => String(value));
    throw new Error(`expected ${kinds.join(" or ")}, got ${message.case}: ${text}`);
  }

  async nextError(): Promise<{ stepId: number; error: NoodleError }> {
    const { stepId, error } = await this.next("error");
    if (error === undefined) throw new Error("an error without a cause");
    return { stepId: Number(stepId), error: fromErrorInfo(error) };
  }

  #end(error: NoodleError): void {
    this.#ended = error;
    this.#wake?.();
  }
}

export function sessionId(slot: number): string {
  return String(slot).padStart(32, "0");
}

/** @param change by default the session is named after its slot */
export async function createSession(
  client: ServiceClient<typeof StageService>,
  slot: number,
  change: Init<typeof CreateSessionRequestSchema> = {},
): Promise<number> {
  const request = { epoch: BigInt(EPOCH), sessionId: writeSessionId(sessionId(slot)), fence: 1, slot, ...change };
  return (await client.rpc.createSession(request, { timeoutMs: 2000 })).nextPosition;
}

/** @returns positions that are kept; null when there was no session */
export async function closeSession(
  client: ServiceClient<typeof StageService>,
  id: string,
  keepKv = false,
): Promise<number | null> {
  const request = { epoch: BigInt(EPOCH), sessionId: writeSessionId(id), fence: 1, keepKv };
  const { existed, keptTokens } = await client.rpc.closeSession(request, { timeoutMs: 2000 });
  return existed ? keptTokens : null;
}

export function makeRun(slot: number, position: number, rows: number, change: Partial<FrameRun> = {}): FrameRun {
  const id = sessionId(slot);
  const none = { topLogprobs: null, following: null };
  return { sessionId: id, fence: 1, branch: 0, position, rows, slot, output: "last", ...none, ...change };
}

/** A frame for stage 0. */
export function makeFrame(stepId: number, runs: readonly FrameRun[], tokens: readonly number[]): Frame {
  return {
    epoch: EPOCH,
    stepId,
    observe: "off",
    runs,
    traces: [],
    pads: [],
    tokens: Int32Array.from(tokens),
    width: 0,
    hidden: null,
  };
}

/** Token ids of a result, in the order of its runs. */
export function tokenIds(result: StepResult): readonly number[] {
  return result.tokens.map(({ tokenId }) => tokenId);
}
