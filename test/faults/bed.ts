import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Coordinator, type CoordinatorOptions } from "../../src/cluster/coordinator/index.ts";
import { must, NoodleError } from "../../src/common/index.ts";
import { Tokenizer } from "../../src/engine/index.ts";
import type { EventRecord, PlanRecord } from "../../src/observe/index.ts";
import { ShapedLink, type Toxic } from "../../src/shaper/index.ts";
import { Front } from "./front.ts";
import { findFreePort } from "./ports.ts";
import { BedWorker } from "./worker.ts";

export interface BedOptions {
  readonly model: string;
  /** @default 3 */
  readonly workers?: number;
  /** Of them so many get stages; the others are spare. @default all */
  readonly stages?: number;
  readonly coordinator?: Partial<CoordinatorOptions>;
  readonly workerArgs?: readonly string[];
  /** One data folder for all workers: what one of them cut, another finds. @default false */
  readonly hasSharedData?: boolean;
  /** A fault can be put in every way between two processes. @default false */
  readonly proxied?: boolean;
}

/** The ways to and from one worker. */
export interface WorkerLinks {
  /** From the worker to the coordinator. */
  readonly control: ShapedLink;
  /** From the coordinator to the worker's stage. */
  readonly calls: ShapedLink;
  /** From the stage before it. */
  readonly hop: ShapedLink;
}

export type Told = { readonly atMs: number } & (
  | { readonly event: EventRecord; readonly plan?: undefined }
  | { readonly plan: PlanRecord; readonly event?: undefined }
);

interface Place {
  readonly name: string;
  readonly listenPort: number;
  readonly advertisedPort: number;
  readonly joinPort: number;
  readonly links: WorkerLinks | null;
  readonly front: Front | null;
  worker: BedWorker;
  starts: number;
}

const WHOLE_MS = 60_000;
const POLL_MS = 20;

/** A coordinator in this process and workers as real ones, for faults: nothing that dies is started again by itself. */
export class Bed {
  readonly coordinator: Coordinator;
  /** What was told of the cluster, in order. */
  readonly told: Told[];
  readonly #options: BedOptions;
  readonly #places: Place[] = [];
  readonly #root: string;
  readonly #tokenizer: Tokenizer;

  static async start(options: BedOptions): Promise<Bed> {
    const root = await mkdtemp(join(tmpdir(), "noodle-bed-"));
    const tokenizer = Tokenizer.open(options.model);
    const { workers = 3, stages = workers } = options;
    const told: Told[] = [];
    let bed: Bed | null = null;
    try {
      const coordinator = await Coordinator.start({
        grpcPort: 0,
        threads: 1,
        contextTokens: 256,
        parallel: 4,
        determinism: "strict",
        model: options.model,
        tokenizer,
        expect: stages,
        dataDir: join(root, "coordinator"),
        observer: {
          onEvent: (event) => void told.push({ atMs: performance.now(), event }),
          onPlan: (plan) => void told.push({ atMs: performance.now(), plan }),
        },
        ...options.coordinator,
      });
      bed = new Bed(coordinator, told, options, root, tokenizer);
      for (let index = 0; index < workers; index++) {
        await bed.#add(index);
        await bed.#untilNodes(index + 1);
      }
      await bed.untilWhole();
      return bed;
    } catch (error) {
      if (bed === null) tokenizer.close();
      else await bed.close();
      await rm(root, { recursive: true, force: true });
      throw error;
    }
  }

  private constructor(coordinator: Coordinator, told: Told[], options: BedOptions, root: string, tokenizer: Tokenizer) {
    this.coordinator = coordinator;
    this.told = told;
    this.#options = options;
    this.#root = root;
    this.#tokenizer = tokenizer;
  }

  get size(): number {
    return this.#places.length;
  }

  worker(index: number): BedWorker {
    return this.#place(index).worker;
  }

  links(index: number): WorkerLinks {
    return must(this.#place(index).links ?? undefined, "links of a bed that has them");
  }

  /** Which worker holds a stage, as its number on the bed. */
  holderOf(stage: number): number {
    const { stages, nodes } = this.coordinator.status();
    const name = nodes.find(({ id }) => id === stages[stage]?.node)?.name;
    return this.#places.findIndex((place) => place.name === name);
  }

  /** Process id of the engine's process of a worker; undefined without a stage. */
  hostOf(index: number): number | undefined {
    const { stages, nodes } = this.coordinator.status();
    const ids = nodes.filter(({ name }) => name === this.#place(index).name).map(({ id }) => id);
    return stages.find(({ node }) => node !== null && ids.includes(node))?.host_pid ?? undefined;
  }

  dataDirOf(index: number): string {
    return this.worker(index).options.dataDir;
  }

  /** Puts the toxics in, named one after another, in both directions where a toxic says none. @returns what takes them out */
  poison(links: readonly ShapedLink[], ...toxics: readonly DistributiveOmit<Toxic, "name">[]): () => void {
    const added: (() => void)[] = [];
    for (const link of links) {
      for (const [index, toxic] of toxics.entries()) {
        const directions = toxic.direction === undefined ? (["upstream", "downstream"] as const) : [toxic.direction];
        for (const direction of directions) {
          const name = `${toxic.type} ${index} ${direction}`;
          link.add({ ...toxic, direction, name });
          added.push(() => void link.remove(name));
        }
      }
    }
    return () => added.splice(0).forEach((remove) => remove());
  }

  /** Starts workers again that are gone. @param keepData false = as machines that were never there */
  async revive(keepData = true): Promise<void> {
    for (const place of this.#places) {
      if (place.worker.isRunning) continue;
      await place.worker.kill();
      if (!keepData) place.starts += 1;
      place.worker = this.#spawn(place);
    }
  }

  /** Everything is there that was at the start, and can be used. */
  async untilWhole(limitMs = WHOLE_MS): Promise<void> {
    const { workers = 3, stages = workers } = this.#options;
    await this.until("the cluster is whole", limitMs, () => {
      const { nodes, stages: held, plan, health } = this.coordinator.status();
      const present = nodes.filter(({ state }) => state !== "lost" && state !== "draining").length;
      const ready = held.filter(({ state }) => state === "ready").length;
      const isSettled = plan !== null && plan.next === null && plan.former === null && health.status === "ready";
      return isSettled && present >= workers && ready === stages && held.length === stages;
    });
  }

  async until(what: string, limitMs: number, condition: () => boolean): Promise<void> {
    const endMs = performance.now() + limitMs;
    while (!condition()) {
      if (performance.now() > endMs) {
        const { health, stages } = this.coordinator.status();
        const said = stages.map(({ units, state }) => `${units} ${state}`).join(", ");
        throw new NoodleError("TIMED_OUT", `${what}: not within ${limitMs} ms; ${health.reason ?? "ready"}; ${said}`);
      }
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
  }

  async close(): Promise<void> {
    for (const { worker } of this.#places) worker.signal("SIGCONT");
    await Promise.all(this.#places.map(({ worker }) => worker.kill()));
    await this.coordinator.close();
    for (const { links, front } of this.#places) {
      await front?.close();
      if (links !== null) for (const link of [links.control, links.calls, links.hop]) await link.close();
    }
    this.#tokenizer.close();
    await rm(this.#root, { recursive: true, force: true });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #place(index: number): Place {
    return must(this.#places[index], "worker of the bed");
  }

  async #add(index: number): Promise<void> {
    const listenPort = await findFreePort();
    const joinPort = Number(this.coordinator.address.split(":").at(-1));
    const links =
      this.#options.proxied === true
        ? {
            control: await ShapedLink.open({ targetPort: joinPort, seed: 3 * index + 1 }),
            calls: await ShapedLink.open({ targetPort: listenPort, seed: 3 * index + 2 }),
            hop: await ShapedLink.open({ targetPort: listenPort, seed: 3 * index + 3 }),
          }
        : null;
    const front = links === null ? null : await Front.open({ coordinator: links.calls.port, peer: links.hop.port });
    const place = {
      name: `w${index + 1}`,
      listenPort,
      advertisedPort: front?.port ?? listenPort,
      joinPort: links?.control.port ?? joinPort,
      links,
      front,
      starts: 0,
    };
    this.#places.push({ ...place, worker: this.#spawn(place) });
  }

  #spawn({ name, listenPort, advertisedPort, joinPort, starts }: Omit<Place, "worker">): BedWorker {
    const dataDir = join(this.#root, this.#options.hasSharedData === true ? "workers" : `${name}-${starts}`);
    const args = this.#options.workerArgs ?? [];
    return new BedWorker({ name, join: `127.0.0.1:${joinPort}`, dataDir, listenPort, advertisedPort, args });
  }

  /** In order, so that the stages of a first plan are given out in order. */
  async #untilNodes(count: number): Promise<void> {
    await this.until(`${count} workers have joined`, WHOLE_MS, () => this.coordinator.status().nodes.length >= count);
  }
}

type DistributiveOmit<T, K extends PropertyKey> = T extends unknown ? Omit<T, K> : never;
