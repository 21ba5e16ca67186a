import { NoodleError } from "../../src/common/index.ts";
import type { Capabilities } from "../../src/protocol/index.ts";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { CapabilitiesSchema } from "../../src/protocol/index.ts";
import type { HostAssignment, HostStart, LoadedStage } from "../../src/cluster/worker/host-messages.ts";
import type { HostHandle, HostListening, HostStats } from "../../src/cluster/worker/host-process.ts";
import { Lane } from "../../src/cluster/worker/lane.ts";
import { StageHost } from "../../src/cluster/worker/stage-host.ts";
import { bindStageService, connectHop } from "../../src/cluster/worker/stage-service.ts";
import type { Random } from "../../src/sim/random.ts";
import { createTransport } from "./transport.ts";
import { ToyEngine } from "./toy-engine.ts";
import type { ToyRules } from "./toy-model.ts";
import { SimProcess } from "./virtual-time.ts";
import type { World } from "./world.ts";

const IPC_MS = 0.1;
const STATS_MS = 500;

export interface SimHostOptions {
  readonly world: World;
  /** Of the worker. */
  readonly name: string;
  readonly parent: SimProcess;
  readonly rules: ToyRules;
  readonly callMs: number;
  readonly random: Random;
  readonly drawEngineFailure: () => NoodleError | null;
}

/** A stage host as its supervisor sees it: the real one, in a simulated process with a toy engine. */
export class SimHost implements HostHandle {
  readonly exited: Promise<NoodleError | undefined>;
  readonly busyShare = null;
  readonly pid: number;
  stats: HostStats | null = null;
  readonly process: SimProcess;
  readonly engines: ToyEngine[] = [];
  readonly #options: SimHostOptions;
  readonly #commands = new Lane();
  readonly #rejects = new Set<(error: NoodleError) => void>();
  #host: StageHost | null = null;
  #isClosing = false;
  #exit: (error: NoodleError | undefined) => void = () => undefined;

  constructor(options: SimHostOptions, pid: number) {
    const { world, name, parent } = options;
    this.#options = options;
    this.pid = pid;
    this.process = new SimProcess(`${name}/host${pid}`, name);
    this.exited = new Promise((resolve) => {
      this.#exit = resolve;
    });
    parent.onDeath(() => this.process.kill());
    this.process.onDeath(() => world.time.schedule(1, parent, () => this.#takeDeath()));
  }

  get sessions(): number {
    return this.#host?.sessions ?? 0;
  }

  get openSlots(): number {
    return this.engines.reduce((sum, engine) => sum + engine.openSlots, 0);
  }

  start(start: HostStart): Promise<HostListening> {
    const { world, random } = this.#options;
    return this.#ask(async () => {
      const transport = createTransport(world.network, this.process);
      const host = new StageHost({
        nodeId: start.nodeId,
        engine: await this.#startEngine(),
        startEngine: () => this.#startEngine(),
        connectHop: (address, signal, nodeId) => connectHop(address, signal, nodeId, undefined, transport),
        nowMs: () => world.time.nowMs,
        random: () => random.uniform(),
        hopLimits: { stallMs: 2000 },
      });
      this.#host = host;
      const { listenHost, listenPort, nodeId } = start;
      const services = [bindStageService(host)];
      const server = transport.createServer({ services, host: listenHost, port: listenPort, nodeId });
      const port = await server.start();
      world.time.schedule(STATS_MS, this.process, () => this.#beat(host), STATS_MS);
      return { type: "listening", port, pid: this.pid, engine: { build: "toy", variant: "toy", devices: [] } };
    });
  }

  load(assignment: HostAssignment): Promise<LoadedStage> {
    return this.#ask(async () => await this.#required().load(assignment));
  }

  setCapabilities(capabilities: Capabilities): void {
    const bytes = toBinary(CapabilitiesSchema, capabilities);
    this.#tell(async () => this.#required().setCapabilities(fromBinary(CapabilitiesSchema, bytes)));
  }

  secure(): void {}

  retire(epoch: number): void {
    this.#tell(async () => await this.#required().retire(epoch));
  }

  async close(): Promise<void> {
    this.#isClosing = true;
    this.#tell(async () => {
      await this.#host?.close();
      this.process.kill();
    });
    await this.exited;
  }

  #required(): StageHost {
    if (this.#host === null) throw new NoodleError("ILLEGAL_STATE", "load before start");
    return this.#host;
  }

  #beat(host: StageHost): void {
    host.expireSessions().catch((error: unknown) => this.#options.world.violate(`expiring sessions: ${String(error)}`));
    const { epoch, sessions, totals } = host;
    this.#reply(() => {
      this.stats = { epoch, sessions, rssBytes: 0, observationsDropped: 0, totals, engine: { busyNs: 0, wallNs: 0 } };
    });
  }

  async #startEngine(): Promise<ToyEngine> {
    const { world, rules, callMs, drawEngineFailure, name } = this.#options;
    const onMisuse = (text: string): void => world.violate(`engine of ${name}: ${text}`);
    const { time } = world;
    const engine = new ToyEngine({
      time,
      process: this.process,
      rules,
      callMs,
      drawFailure: drawEngineFailure,
      onMisuse,
    });
    this.engines.push(engine);
    return engine;
  }

  #ask<T>(action: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (!this.process.isAlive) return reject(died());
      this.#rejects.add(reject);
      this.#tell(async () => {
        try {
          const value = await action();
          this.#reply(() => resolve(value));
        } catch (thrown) {
          const error = NoodleError.fromJSON(NoodleError.from(thrown).toJSON());
          this.#reply(() => reject(error));
        }
      });
    });
  }

  #tell(action: () => Promise<void>): void {
    this.#options.world.time.schedule(IPC_MS, this.process, () => {
      this.#commands.run(action).catch((error: unknown) => {
        this.#options.world.note(`${this.process.name} throws ${String(error)} and dies`);
        this.process.kill();
      });
    });
  }

  #reply(action: () => void): void {
    this.#options.world.time.schedule(IPC_MS, this.#options.parent, action);
  }

  #takeDeath(): void {
    const error = died();
    for (const reject of this.#rejects) reject(error);
    this.#exit(this.#isClosing ? undefined : error);
  }
}

function died(): NoodleError {
  return new NoodleError("ENGINE_ABORTED", "the engine process died");
}
