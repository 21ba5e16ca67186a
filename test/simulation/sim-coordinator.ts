import { create } from "@bufbuild/protobuf";
import { must, NoodleError } from "../../src/common/index.ts";
import { Coordinator, type ModelSource } from "../../src/cluster/coordinator/index.ts";
import { ModelIdentitySchema } from "../../src/protocol/index.ts";
import type { Determinism } from "../../src/schedule/index.ts";
import { openSimState, type SimDisk } from "./sim-state.ts";
import { createTransport } from "./transport.ts";
import { TOY } from "./toy-model.ts";
import { SimProcess } from "./virtual-time.ts";
import type { World } from "./world.ts";

export const COORDINATOR_HOST = "c";
export const COORDINATOR_ADDRESS = "c:7421";

export interface SimCoordinatorOptions {
  readonly split: string;
  readonly stages: number;
  readonly parallel: number;
  readonly determinism: Determinism;
  readonly prefillRows: number;
  readonly contextTokens: number;
}

const TOKENIZER = {
  vocabSize: TOY.vocabulary,
  tokenize: () => new Int32Array(0),
  pieceBytes: (tokenId: number) => Uint8Array.of(0x20 + tokenId),
  isEndOfGeneration: () => false,
};

/** One life of the coordinator: the real one, in a simulated process on a simulated disk. */
export class SimCoordinator {
  readonly process = new SimProcess("coordinator", COORDINATOR_HOST);
  readonly #world: World;
  #coordinator: Coordinator | null = null;

  constructor(world: World, disk: SimDisk, options: SimCoordinatorOptions) {
    this.#world = world;
    const { split, stages, parallel, determinism, prefillRows, contextTokens } = options;
    world.time.schedule(0, this.process, () => {
      const started = Coordinator.start({
        model: toySource(),
        tokenizer: TOKENIZER,
        dataDir: "",
        host: COORDINATOR_HOST,
        grpcPort: 7421,
        expect: stages,
        split,
        parallel,
        determinism,
        prefillRows,
        contextTokens,
        maxRows: 64,
        queue: 8,
        leaseMs: 1000,
        stepTimeoutMs: 2500,
        journal: true,
        hooks: false,
        transport: createTransport(world.network, this.process),
        openState: () => openSimState(world, disk, this.process),
      });
      started.then(
        (coordinator) => {
          this.#coordinator = coordinator;
        },
        (error: unknown) => world.violate(`the coordinator does not start: ${String(error)}`),
      );
    });
  }

  get coordinator(): Coordinator | null {
    return this.process.isAlive ? this.#coordinator : null;
  }

  /** Calls back when requests can be served. */
  whenReady(action: () => void): void {
    const wait = (): void => {
      const { coordinator } = this;
      if (coordinator === null) this.#world.time.schedule(50, this.process, wait);
      else
        coordinator
          .waitReady(new AbortController().signal, 3_600_000, undefined, () => undefined)
          .then(action, () => undefined);
    };
    this.#world.time.schedule(0, this.process, wait);
  }

  require(): Coordinator {
    if (this.coordinator === null) throw new NoodleError("CLUSTER_NOT_READY", "there is no coordinator");
    return must(this.#coordinator, "coordinator");
  }
}

function toySource(): ModelSource {
  const parseSplit = (text: string): { first: number; end: number }[] =>
    text.split(",").map((part) => {
      const [first = 0, end = 0] = part.split(":").map(Number);
      return { first, end };
    });
  return {
    identity: create(ModelIdentitySchema, {
      path: "toy",
      shardBytes: [1000n],
      sourceSha256: new Uint8Array(32).fill(7),
    }),
    unitCount: TOY.units,
    fileBytes: 1000,
    contextLength: 256,
    splitByBytes: () => parseSplit(`0:${TOY.units}`),
    parseSplit,
    streamRange: async function* () {},
    close: async () => undefined,
  };
}
