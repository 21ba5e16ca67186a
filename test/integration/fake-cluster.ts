import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { must, NoodleError } from "../../src/common/index.ts";
import {
  Coordinator,
  type CoordinatorOptions,
  type GenerateEvent,
  type GenerateRequest,
  type ModelSource,
  type PromptTokenizer,
} from "../../src/cluster/coordinator/index.ts";
import { bindStageService, connectHop } from "../../src/cluster/worker/stage-service.ts";
import { StageHost } from "../../src/cluster/worker/stage-host.ts";
import type { AsyncEngine } from "../../src/cluster/worker/stage-thread.ts";
import { FakeStage, type StageConfig } from "../../src/engine/index.ts";
import {
  type BidiStream,
  createClient,
  createServer,
  type NoodleServer,
  type ServiceClient,
} from "../../src/net/index.ts";
import {
  type Assign,
  type CoordinatorMessage,
  CoordinatorService,
  ModelIdentitySchema,
  type Observation,
  PROTOCOL_VERSION,
  StageState,
  toErrorInfo,
  type WorkerMessageSchema,
} from "../../src/protocol/index.ts";

export const FAKE = { layers: 4, nEmbd: 8, nVocab: 97 } as const;
const UNITS = FAKE.layers + 2;

type FakeFaults = NonNullable<ConstructorParameters<typeof FakeStage>[0]["faults"]>;

/** One byte of a token is a letter; token 0 ends the text when a test says so. */
export function fakeTokenizer(endToken = -1): PromptTokenizer {
  return {
    vocabSize: FAKE.nVocab,
    tokenize: (text) => Int32Array.from(Buffer.from(text, "utf8"), (byte) => byte % FAKE.nVocab),
    pieceBytes: (tokenId) => Uint8Array.of(0x20 + (tokenId % 95)),
    isEndOfGeneration: (tokenId) => tokenId === endToken,
  };
}

export const FAKE_MODEL_BYTES = Uint8Array.from({ length: 3_000_001 }, (_, i) => (i * 31 + (i >> 8)) & 255);

/** @param unitBytes absent = not known: then units are not spread over other workers */
export function fakeModel(unitBytes?: readonly number[]): ModelSource {
  return {
    identity: create(ModelIdentitySchema, {
      path: "fake-model",
      shardBytes: [BigInt(FAKE_MODEL_BYTES.length)],
      sourceSha256: new Uint8Array(32).fill(7),
    }),
    unitCount: UNITS,
    ...(unitBytes === undefined ? {} : { unitBytes }),
    fileBytes: FAKE_MODEL_BYTES.length,
    contextLength: 256,
    splitByBytes: (stages) =>
      Array.from({ length: stages }, (_, i) => ({
        first: Math.floor((i * UNITS) / stages),
        end: Math.floor(((i + 1) * UNITS) / stages),
      })),
    parseSplit: (text) =>
      text.split(",").map((part) => {
        const [first, end] = part.split(":").map(Number);
        return { first: must(first, "first"), end: must(end, "end") };
      }),
    streamRange: async function* (_shard, offset, length, chunkBytes) {
      for (let at = offset; at < offset + length; at += chunkBytes) {
        yield FAKE_MODEL_BYTES.slice(at, Math.min(at + chunkBytes, offset + length));
      }
    },
    close: async () => undefined,
  };
}

export interface FakeWorkerOptions {
  readonly id: string;
  readonly coordinator: string;
  readonly faults?: FakeFaults;
  readonly protocolVersion?: number;
  readonly engineBuild?: string;
  /** Reported instead of the stage's own. */
  readonly canary?: string;
  /** Changes what is said of the inside of a step. */
  readonly onObservation?: (observation: Observation) => Observation;
  /** Row classes that its engine says it has, as JSON. */
  readonly rowClasses?: string;
  /** Its engine has nothing left of what slots keep. */
  readonly forgetsPrefixes?: boolean;
  /** Computes instead of the fake engine; its stage files are called as their units. */
  readonly engine?: AsyncEngine;
  /** Reported instead of loading. */
  readonly loadError?: NoodleError;
  /** Says that it loads, and never that it has. */
  readonly loadsForever?: boolean;
  /** Reported instead of loading this assignment; absent or undefined = it is loaded. */
  readonly refuse?: (assign: Assign) => NoodleError | undefined;
}

/** A worker in this process: the real stage host on a fake engine, without supervisor, processes and stage files. */
export class FakeWorker {
  readonly id: string;
  readonly assignments: Assign[] = [];
  readonly retired: bigint[] = [];
  readonly refused: Promise<NoodleError>;
  readonly #options: FakeWorkerOptions;
  readonly #client: ServiceClient<typeof CoordinatorService>;
  #host: StageHost;
  #server: NoodleServer;
  #port = 0;
  #stream: BidiStream<MessageInitShape<typeof WorkerMessageSchema>, CoordinatorMessage> | null = null;
  #heartbeat: NodeJS.Timeout | null = null;
  #refuse: (error: NoodleError) => void = () => undefined;

  private constructor(options: FakeWorkerOptions) {
    this.id = options.id;
    this.#options = options;
    this.refused = new Promise((resolve) => {
      this.#refuse = resolve;
    });
    this.#client = createClient(CoordinatorService, options.coordinator);
    this.#host = this.#createHost();
    this.#server = this.#createServer();
  }

  static async start(options: FakeWorkerOptions): Promise<FakeWorker> {
    const worker = new FakeWorker(options);
    worker.#port = await worker.#server.start();
    await worker.#join();
    return worker;
  }

  get sessions(): number {
    return this.#host.sessions;
  }

  /** Goes without a word, as after SIGKILL. */
  async kill(): Promise<void> {
    if (this.#heartbeat !== null) clearInterval(this.#heartbeat);
    this.#stream?.cancel();
    this.#client.close();
    await this.#server.close(0);
    await this.#host.close();
  }

  /** Says that it goes soon. */
  leave(): void {
    this.#say({ case: "leaving", value: { reason: "a test" } });
  }

  /** Says nothing more on its control stream, and keeps it. */
  fallSilent(): void {
    if (this.#heartbeat !== null) clearInterval(this.#heartbeat);
    this.#heartbeat = null;
  }

  /** The engine dies and comes back, as under a supervisor: another host on the same port. */
  async restartHost(): Promise<void> {
    const assign = must(this.assignments.at(-1), "assignment");
    await this.#server.close(0);
    const error = toErrorInfo(new NoodleError("ENGINE_ABORTED", "the engine said GGML_ASSERT"), this.id);
    this.#report({ epoch: assign.epoch, state: StageState.RESTARTING, error });
    await this.#host.close();
    this.#host = this.#createHost();
    this.#server = this.#createServer(this.#port);
    await this.#server.start();
    await this.#load(assign);
  }

  #createHost(): StageHost {
    return new StageHost({
      nodeId: this.id,
      engine: this.#options.engine ?? createInlineEngine(this.#options),
      connectHop,
      nowMs: () => performance.now(),
      random: () => 0.5,
      startEngine: async () => createInlineEngine(this.#options),
      onObservation: (observation) =>
        this.#say({ case: "observation", value: this.#options.onObservation?.(observation) ?? observation }),
    });
  }

  #createServer(port = 0): NoodleServer {
    return createServer({ services: [bindStageService(this.#host)], port, nodeId: this.id });
  }

  async #join(): Promise<void> {
    const stream = await this.#client.rpc.join();
    this.#stream = stream;
    stream.listen({
      onMessage: ({ message }) => {
        if (message.case === "refused") this.#refuse(new NoodleError("INTERNAL", message.value.code));
        if (message.case === "assign") {
          this.assignments.push(message.value);
          void this.#load(message.value);
        }
        if (message.case === "retire") {
          this.retired.push(message.value.epoch);
          void this.#host.retire(Number(message.value.epoch));
        }
      },
      onEnd: () => undefined,
      onError: () => undefined,
    });
    stream.send({
      message: {
        case: "register",
        value: {
          capabilities: {
            nodeId: this.id,
            name: `name-${this.id}`,
            protocolVersion: this.#options.protocolVersion ?? PROTOCOL_VERSION,
            engineBuild: this.#options.engineBuild ?? "fake",
            cpuVariant: "fake",
            threads: 1,
          },
          stageAddress: `127.0.0.1:${this.#port}`,
          supervisorPid: process.pid,
          incarnation: randomBytes(16),
        },
      },
    });
    let seq = 0n;
    this.#heartbeat = setInterval(() => {
      seq += 1n;
      this.#say({ case: "heartbeat", value: { seq, rssBytes: 1000n, sessions: this.sessions } });
    }, 100);
  }

  async #load(assign: Assign): Promise<void> {
    const loadError = this.#options.loadError ?? this.#options.refuse?.(assign);
    if (loadError !== undefined) {
      this.#report({ epoch: assign.epoch, state: StageState.FAILED, error: toErrorInfo(loadError, this.id) });
      return;
    }
    this.#report({ epoch: assign.epoch, state: StageState.LOADING });
    if (this.#options.loadsForever === true) return;
    const loaded = await this.#host.load({
      epoch: Number(assign.epoch),
      stage: assign.stage,
      stageFile: `${assign.firstUnit}:${assign.endUnit}`,
      threads: Math.max(1, assign.threads),
      contextTokens: assign.contextTokens,
      parallel: assign.parallel,
      maxRows: assign.maxRows,
      nextAddress: assign.nextAddress,
      nextNodeId: assign.nextNodeId,
      hooks: assign.hooks,
      beside: assign.beside,
    });
    this.#report({
      epoch: assign.epoch,
      state: StageState.READY,
      weightsBytes: BigInt(loaded.info.weightsBytes),
      canarySha256: this.#options.canary ?? loaded.canarySha256,
      kvBytes: BigInt(loaded.info.kvBytes),
      rowClassesJson: loaded.rowClassesJson,
      hostPid: 1,
    });
  }

  #report(value: Extract<MessageInitShape<typeof WorkerMessageSchema>["message"], { case: "stage" }>["value"]): void {
    this.#say({ case: "stage", value });
  }

  #say(message: NonNullable<MessageInitShape<typeof WorkerMessageSchema>["message"]>): void {
    try {
      this.#stream?.send({ message });
    } catch {
      // The stream is over; so is what this worker has to say.
    }
  }
}

export function openFakeStage(units: string, config: Omit<StageConfig, "stageFile">, faults?: FakeFaults): FakeStage {
  const [first, end] = units.split(":").map(Number);
  const range = { first: must(first, "first"), end: must(end, "end") };
  const model = { units: range, ...FAKE, ...(faults === undefined ? {} : { faults }) };
  return new FakeStage(model, { stageFile: units, ...config });
}

/** The fake engine on this thread. */
function createInlineEngine({ faults, rowClasses = "", forgetsPrefixes = false }: FakeWorkerOptions): AsyncEngine {
  let stage: FakeStage | undefined;
  const loaded = (): FakeStage => must(stage, "loaded stage");
  return {
    start: async () => ({ build: "fake", variant: "fake", devices: [] }),
    load: async (config: StageConfig) => {
      stage = openFakeStage(config.stageFile, config, faults);
      return stage.info;
    },
    probe: async () => rowClasses,
    openSlot: async (slot, sampling, start) => {
      if (forgetsPrefixes && (start?.keepTokens ?? 0) > 0) throw new NoodleError("PREFIX_GONE", "it was forgotten");
      loaded().openSlot(slot, sampling, start);
    },
    closeSlot: async (slot, keep) => {
      stage?.closeSlot(slot, keep);
      return stage?.keptTokens(slot) ?? 0;
    },
    forward: async ({ input, truncations, wantLogits, observe }) => {
      for (const { slot, position } of truncations) loaded().truncate(slot, position);
      const startNs = Number(process.hrtime.bigint());
      const output = loaded().forward(input, observe === null ? { wantLogits } : { wantLogits, observe });
      return { ...output, startNs, endNs: Number(process.hrtime.bigint()) };
    },
    readKv: async (slot) => loaded().readKv(slot),
    canary: async () => loaded().canary(),
    close: async () => {
      stage?.close();
      stage = undefined;
    },
  };
}

/** A coordinator with fake workers, all in this process; `close` leaves nothing behind. */
export class FakeCluster {
  readonly coordinator: Coordinator;
  readonly workers: FakeWorker[] = [];
  readonly #dataDir: string;

  private constructor(coordinator: Coordinator, dataDir: string) {
    this.coordinator = coordinator;
    this.#dataDir = dataDir;
  }

  static async start(options: Partial<CoordinatorOptions> & { readonly expect: number }): Promise<FakeCluster> {
    const dataDir = await mkdtemp(join(tmpdir(), "noodle-fake-"));
    const coordinator = await Coordinator.start({
      model: fakeModel(),
      tokenizer: fakeTokenizer(),
      dataDir,
      grpcPort: 0,
      contextTokens: 128,
      parallel: 4,
      prefillRows: 8,
      ...options,
    }).catch(async (error: unknown) => {
      await rm(dataDir, { recursive: true, force: true });
      throw error;
    });
    return new FakeCluster(coordinator, dataDir);
  }

  async addWorker(id: string, options: Partial<FakeWorkerOptions> = {}): Promise<FakeWorker> {
    const worker = await FakeWorker.start({ id, coordinator: this.coordinator.address, ...options });
    this.workers.push(worker);
    return worker;
  }

  async addWorkers(count: number, options: Partial<FakeWorkerOptions> = {}): Promise<void> {
    for (let i = 0; i < count; i++) await this.addWorker(`w${i}`, options);
  }

  ready(timeoutMs = 15_000): Promise<void> {
    return this.coordinator.waitReady(new AbortController().signal, timeoutMs);
  }

  async close(): Promise<void> {
    await this.coordinator.close();
    for (const worker of this.workers) await worker.kill();
    await rm(this.#dataDir, { recursive: true, force: true });
  }
}

export interface Generated {
  readonly tokens: readonly number[];
  readonly text: string;
  readonly logits: readonly (Float32Array | null)[];
  readonly done: Extract<GenerateEvent, { type: "done" }>;
}

export async function collect(events: AsyncIterable<GenerateEvent>): Promise<Generated> {
  const tokens: number[] = [];
  const logits: (Float32Array | null)[] = [];
  let text = "";
  for await (const event of events) {
    if (event.type === "token") {
      tokens.push(event.tokenId);
      logits.push(event.logits);
      text += event.text;
    } else if (event.type === "done") {
      return { tokens, text, logits, done: event };
    }
  }
  throw new NoodleError("INTERNAL", "the generation ended without its last event");
}

/** The same generation on one undivided fake stage. */
export function generateUndivided(
  request: GenerateRequest,
  contextTokens = 128,
): { tokens: number[]; stage: FakeStage } {
  const { prompt } = request;
  const ids = typeof prompt === "string" ? [...fakeTokenizer().tokenize(prompt)] : [...prompt];
  const stage = openFakeStage(`0:${UNITS}`, { contextTokens, parallel: 1, threads: 1 });
  stage.openSlot(0, request.sampling ?? { temperature: 0, topK: 0, topP: 1, minP: 0, repeatPenalty: 1, seed: 0 });
  const tokens: number[] = [];
  let next = Int32Array.from(ids);
  let position = 0;
  while (tokens.length < request.maxTokens && position + next.length <= contextTokens) {
    const run = { slot: 0, position, rows: next.length, output: "last" as const };
    const { sampled } = stage.forward({ runs: [run], tokens: next, hidden: null });
    position += next.length;
    const tokenId = must(sampled[0], "sampled token").tokenId;
    tokens.push(tokenId);
    next = Int32Array.of(tokenId);
  }
  return { tokens, stage };
}
