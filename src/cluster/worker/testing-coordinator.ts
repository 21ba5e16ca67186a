/** Helpers of this folder's tests: a coordinator that a test writes the lines of, and stage files of the fake engine. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { MessageInitShape as Init } from "@bufbuild/protobuf";
import { NoodleError } from "../../common/index.ts";
import { type BidiStream, bindService, createServer } from "../../net/index.ts";
import {
  type CoordinatorMessageSchema,
  CoordinatorService,
  type Heartbeat,
  type Observation,
  type Register,
  type StageReport,
  StageState,
  type WorkerMessage,
} from "../../protocol/index.ts";
import type { StageFileSource } from "../stage-files/index.ts";

type JoinStream = BidiStream<Init<typeof CoordinatorMessageSchema>, WorkerMessage>;

export class ScriptedCoordinator {
  address = "";
  readonly registers: Register[] = [];
  readonly reports: StageReport[] = [];
  readonly leaving: string[] = [];
  heartbeats = 0;
  lastHeartbeat: Heartbeat | undefined;
  readonly observations: Observation[] = [];
  /** Refuses registrations with this, when set. */
  refusal: NoodleError | undefined;
  close: () => Promise<void> = async () => undefined;
  #stream: JoinStream | undefined;
  #changed: (() => void)[] = [];

  static async start(port = 0): Promise<ScriptedCoordinator> {
    const unused = (): never => {
      throw new NoodleError("ILLEGAL_STATE", "not in this script");
    };
    const script = new ScriptedCoordinator();
    const server = createServer({
      port,
      services: [
        bindService(CoordinatorService, {
          join: (stream) => script.accept(stream),
          generate: unused,
          status: unused,
          ping: unused,
          readTrace: unused,
          replan: unused,
        }),
      ],
    });
    script.address = `127.0.0.1:${await server.start()}`;
    script.close = () => server.close(0);
    return script;
  }

  tell(message: NonNullable<Init<typeof CoordinatorMessageSchema>["message"]>): void {
    this.#stream?.send({ message });
  }

  assign(change: { epoch?: bigint; firstUnit?: number; endUnit?: number; hooks?: boolean } = {}): void {
    const value = {
      epoch: 1n,
      stage: 0,
      stageCount: 1,
      firstUnit: 0,
      endUnit: 4,
      threads: 1,
      contextTokens: 32,
      parallel: 4,
      maxRows: 16,
      model: {},
      ...change,
    };
    this.tell({ case: "assign", value });
  }

  /** Waits for what a test is interested in; the test's own limit ends a wait for ever. */
  async until<T>(find: () => T | undefined): Promise<T> {
    for (;;) {
      const found = find();
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => this.#changed.push(resolve));
    }
  }

  /** The next report of this state after the first `after` reports. */
  untilState(state: StageState, after = 0): Promise<StageReport> {
    return this.until(() => {
      const failed = this.reports.slice(after).find((report) => report.state === StageState.FAILED);
      if (failed !== undefined && state !== StageState.FAILED) throw new Error(`failed: ${failed.error?.message}`);
      return this.reports.slice(after).find((report) => report.state === state);
    });
  }

  accept(stream: JoinStream): void {
    this.#stream = stream;
    stream.listen({
      onMessage: ({ message }) => {
        if (message.case === "register") {
          this.registers.push(message.value);
          this.#answer(message.value, stream);
        } else if (message.case === "stage") this.reports.push(message.value);
        else if (message.case === "observation") this.observations.push(message.value);
        else if (message.case === "leaving") this.leaving.push(message.value.reason);
        else if (message.case === "heartbeat") {
          this.heartbeats += 1;
          this.lastHeartbeat = message.value;
          this.tell({ case: "heartbeatAck", value: { seq: message.value.seq } });
        }
        for (const wake of this.#changed.splice(0)) wake();
      },
      onEnd: () => stream.end(),
      onError: () => undefined,
    });
  }

  #answer(register: Register, stream: JoinStream): void {
    if (this.refusal === undefined) {
      const nodeId = register.capabilities?.nodeId ?? "";
      return this.tell({ case: "registered", value: { nodeId, coordinatorEpoch: 1n, heartbeatMs: 50, leaseMs: 3000 } });
    }
    const { code, message } = this.refusal;
    this.tell({ case: "refused", value: { code, message } });
    stream.end();
  }
}

/** Writes the fake engine's JSON instead of cutting a model. */
export class FakeStageFiles implements StageFileSource {
  readonly #directory: string;
  readonly #faults: object;
  readonly #kvBytes: number;

  constructor(directory: string, faults: object = {}, kvBytes = 0) {
    this.#directory = directory;
    this.#faults = faults;
    this.#kvBytes = kvBytes;
  }

  prepare: StageFileSource["prepare"] = async ({ units }, hooks) => {
    hooks.checkSizes({ weightsBytes: 1000, kvBytes: this.#kvBytes });
    const path = join(this.#directory, `stage-${units.first}-${units.end}.json`);
    const model = { units, layers: 2, nEmbd: 4, nVocab: 50, faults: this.#faults };
    writeFileSync(path, JSON.stringify(model));
    return { path, weightsBytes: 1000, receivedBytes: 0 };
  };
}

export function makeTemporaryDirectory(): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), "noodle-worker-"));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}
