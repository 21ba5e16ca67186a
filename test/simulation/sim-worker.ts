import { create } from "@bufbuild/protobuf";
import { tmpdir } from "node:os";
import type { NoodleError } from "../../src/common/index.ts";
import { WorkerSupervisor } from "../../src/cluster/worker/index.ts";
import { CapabilitiesSchema, PROTOCOL_VERSION, StageState } from "../../src/protocol/index.ts";
import type { Random } from "../../src/sim/random.ts";
import { SimHost } from "./sim-host.ts";
import { createTransport } from "./transport.ts";
import type { ToyRules } from "./toy-model.ts";
import { SimProcess } from "./virtual-time.ts";
import type { World } from "./world.ts";

const PORT = 7000;
const PREPARE_MS = 10;

export interface SimWorkerOptions {
  readonly name: string;
  readonly join: string;
  readonly rules: ToyRules;
  readonly callMs: number;
  /** Told of a stage that is loaded. */
  readonly onReady: (epoch: number, name: string) => void;
}

/** A worker of the simulated cluster: the real supervisor; it can be killed, and started again as the same node. */
export class SimWorker {
  readonly name: string;
  /** What its engine fails with; null = nothing. */
  drawEngineFailure: () => NoodleError | null = () => null;
  readonly #world: World;
  readonly #options: SimWorkerOptions;
  readonly #random: Random;
  #process: SimProcess | null = null;
  #supervisor: WorkerSupervisor | null = null;
  #hosts: SimHost[] = [];
  #nextPid = 1;

  constructor(world: World, options: SimWorkerOptions) {
    this.name = options.name;
    this.#world = world;
    this.#options = options;
    this.#random = world.random(options.name);
  }

  get isRunning(): boolean {
    return this.#process?.isAlive === true;
  }

  get host(): SimHost | null {
    return this.#hosts.findLast(({ process }) => process.isAlive) ?? null;
  }

  start(): void {
    const { time } = this.#world;
    const process = new SimProcess(this.name);
    this.#process = process;
    this.#hosts = [];
    time.schedule(0, process, () => {
      const supervisor = this.#createSupervisor(process);
      this.#supervisor = supervisor;
      supervisor.start().catch((error: unknown) => {
        this.#world.note(`${this.name} could not start: ${String(error)}`);
        process.kill();
      });
      void supervisor.closed.then(() => process.kill());
    });
  }

  /** SIGKILL of supervisor and host. */
  kill(): void {
    this.#process?.kill();
  }

  killEngine(): void {
    this.host?.process.kill();
  }

  stall(untilMs: number): void {
    if (this.#process !== null) this.#process.stalledUntilMs = untilMs;
    this.stallEngine(untilMs);
  }

  stallEngine(untilMs: number): void {
    const { host } = this;
    if (host !== null) host.process.stalledUntilMs = untilMs;
  }

  resume(): void {
    this.stall(0);
  }

  /** SIGTERM. */
  drain(): void {
    const process = this.#process;
    this.#world.time.schedule(0, process, () => void this.#supervisor?.close("drained"));
  }

  #createSupervisor(process: SimProcess): WorkerSupervisor {
    const world = this.#world;
    const { name, join, rules, callMs } = this.#options;
    const { time } = world;
    return new WorkerSupervisor({
      join,
      listenHost: name,
      listenPort: PORT,
      name,
      dataDirectory: tmpdir(),
      threads: 1,
      engine: { kind: "fake" },
      noodlecoreVersion: "0",
      joinTimeoutMs: 600_000,
      stageFiles: {
        prepare: async ({ units }, { checkSizes }) => {
          checkSizes({ weightsBytes: 1000, kvBytes: 1000 });
          await new Promise<void>((resolve) => time.schedule(PREPARE_MS, process, resolve));
          return { path: `${units.first}:${units.end}`, weightsBytes: 1000, receivedBytes: 0 };
        },
      },
      onReport: ({ epoch, state }) => {
        if (state === StageState.READY) this.#options.onReady(Number(epoch ?? 0), name);
      },
      onNotice: (text) => world.note(`${name}: ${text}`),
      platform: {
        transport: createTransport(world.network, process),
        createHost: () => {
          const drawEngineFailure = (): NoodleError | null => this.drawEngineFailure();
          const parts = { world, name, parent: process, rules, callMs, random: this.#random, drawEngineFailure };
          const host = new SimHost(parts, this.#nextPid++);
          this.#hosts.push(host);
          return host;
        },
        collectCapabilities: async ({ nodeId }) =>
          create(CapabilitiesSchema, {
            protocolVersion: PROTOCOL_VERSION,
            nodeId,
            name,
            engineBuild: "toy",
            cpuVariant: "toy",
            cores: 1,
            threads: 1,
            memoryTotalBytes: 1_000_000n,
          }),
        claimNodeIdentity: () => ({ nodeId: `n-${name}`, release: () => undefined }),
      },
    });
  }
}
