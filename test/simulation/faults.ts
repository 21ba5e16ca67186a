import { must, NoodleError } from "../../src/common/index.ts";
import type { Random } from "../../src/sim/random.ts";
import { haunt } from "./ghost.ts";
import type { SimCluster } from "./sim-cluster.ts";
import { COORDINATOR_HOST } from "./sim-coordinator.ts";
import { TOY } from "./toy-model.ts";

/** Does harm to a cluster now, and undoes later what does not end by itself. */
export type Fault = (cluster: SimCluster, random: Random) => void;

const LONGEST_MS = 2500;
/** The lease, and what is between two looks at it. */
const NOTICED_MS = 1800;

function drawDuration(random: Random): number {
  return random.uniform() < 0.5 ? random.integer(20, 400) : random.integer(400, LONGEST_MS);
}

function pickWorker({ workers }: SimCluster, random: Random): SimCluster["workers"][number] {
  return must(workers[random.integer(0, workers.length - 1)], "worker");
}

function later({ world }: SimCluster, delayMs: number, action: () => void): void {
  world.time.schedule(delayMs, null, action);
}

function startAgain(cluster: SimCluster, worker: SimCluster["workers"][number], delayMs: number): void {
  later(cluster, delayMs, () => {
    if (!worker.isRunning) worker.start();
  });
}

/** Every kind of fault, by name. */
export const FAULTS: Readonly<Record<string, Fault>> = {
  killWorker: (cluster, random) => {
    const worker = pickWorker(cluster, random);
    worker.kill();
    startAgain(cluster, worker, drawDuration(random));
  },
  /** Nobody hears of it but by its silence. */
  powerLoss: (cluster, random) => {
    const worker = pickWorker(cluster, random);
    if (!worker.isRunning) return;
    const { world, coordinator } = cluster;
    for (const connection of world.network.connections)
      if (connection.client.machine === worker.name || connection.server.machine === worker.name) connection.vanish();
    const lostMs = world.time.nowMs;
    worker.kill();
    later(cluster, NOTICED_MS, () => {
      const isDisturbed = coordinator.process.stalledUntilMs > lostMs || cluster.coordinator !== coordinator;
      const state = coordinator.coordinator?.status().nodes.find(({ name }) => name === worker.name)?.state ?? "lost";
      if (!worker.isRunning && !isDisturbed && state !== "lost")
        world.violate(`${worker.name} is ${state} ${NOTICED_MS} ms after its last sign of life`);
    });
  },
  killEngine: (cluster, random) => pickWorker(cluster, random).killEngine(),
  stallWorker: (cluster, random) => pickWorker(cluster, random).stall(cluster.world.time.nowMs + drawDuration(random)),
  stallEngine: (cluster, random) =>
    pickWorker(cluster, random).stallEngine(cluster.world.time.nowMs + drawDuration(random)),
  drainWorker: (cluster, random) => {
    const worker = pickWorker(cluster, random);
    worker.drain();
    startAgain(cluster, worker, 1000 + drawDuration(random));
  },
  joinWorker: (cluster) => {
    const worker = cluster.workers.find(({ isRunning }) => !isRunning);
    worker?.start();
  },
  partition: (cluster, random) => {
    const machines = [COORDINATOR_HOST, ...cluster.workers.map(({ name }) => name)];
    const from = must(machines[random.integer(0, machines.length - 1)], "machine");
    const others = machines.filter((machine) => machine !== from);
    const to = must(others[random.integer(0, others.length - 1)], "machine");
    const { network } = cluster.world;
    const isOneWay = random.uniform() < 0.5;
    network.block(from, to);
    if (!isOneWay) network.block(to, from);
    later(cluster, drawDuration(random), () => {
      network.heal(from, to);
      network.heal(to, from);
    });
  },
  resetConnection: (cluster, random) => pickConnection(cluster, random)?.reset(),
  halfOpen: (cluster, random) => pickConnection(cluster, random)?.vanish(),
  slowLink: (cluster, random) => {
    const { name } = pickWorker(cluster, random);
    const { network } = cluster.world;
    const [from, to] = random.uniform() < 0.5 ? [COORDINATOR_HOST, name] : [name, pickWorker(cluster, random).name];
    network.slowDown(from, to, random.integer(10, 600));
    later(cluster, drawDuration(random), () => network.slowDown(from, to, 0));
  },
  badFrames: (cluster, random) => {
    const { network } = cluster.world;
    const [share, kind] = [random.uniform() * 0.3, random.uniform() < 0.5 ? "duplicate" : "corrupt"] as const;
    network.drawFrameFault = () => (random.uniform() < share ? kind : "none");
    later(cluster, drawDuration(random), () => {
      network.drawFrameFault = () => "none";
    });
  },
  ghost: ({ world }, random) => {
    const { lastStep } = world.network;
    if (lastStep !== null) haunt(world, lastStep, random.uniform() < 0.5);
  },
  engineFailure: (cluster, random) => {
    const worker = pickWorker(cluster, random);
    const code = random.uniform() < 0.5 ? "ENGINE_FAILED" : "NON_FINITE";
    let left = random.integer(1, 3);
    worker.drawEngineFailure = () => {
      left -= 1;
      return left < 0 ? null : new NoodleError(code, "a simulated failure");
    };
  },
  repartition: (cluster, random) => {
    const names = cluster.workers.map(({ name }) => name);
    const stages = random.integer(1, Math.min(3, names.length));
    const cuts = new Set<number>();
    while (cuts.size < stages - 1) cuts.add(random.integer(1, TOY.units - 1));
    const edges = [0, ...[...cuts].sort((a, b) => a - b), TOY.units];
    const split = edges.slice(1).map((end, index) => `${edges[index]}:${end}`);
    const order = split.map(() => must(names.splice(random.integer(0, names.length - 1), 1)[0], "name"));
    cluster.repartition(split.join(","), order);
  },
  killCoordinator: (cluster, random) => {
    cluster.killCoordinator();
    later(cluster, drawDuration(random), () => {
      if (!cluster.coordinator.process.isAlive) cluster.startCoordinator();
    });
  },
  stallCoordinator: (cluster, random) => {
    cluster.coordinator.process.stalledUntilMs = cluster.world.time.nowMs + drawDuration(random);
  },
  /** Taken for dead, it wakes beside its successor. */
  secondCoordinator: (cluster, random) => {
    cluster.coordinator.process.stalledUntilMs = cluster.world.time.nowMs + drawDuration(random);
    later(cluster, random.integer(20, 600), () => cluster.startCoordinator());
  },
};

/** How often each is drawn, beside 1. */
export const WEIGHTS: Readonly<Record<string, number>> = { repartition: 3, killWorker: 2, badFrames: 2, ghost: 2 };

function pickConnection({ world }: SimCluster, random: Random): { reset(): void; vanish(): void } | undefined {
  const open = [...world.network.connections].filter(({ isOpen }) => isOpen);
  return open.length === 0 ? undefined : open[random.integer(0, open.length - 1)];
}
