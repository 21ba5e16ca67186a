import { must } from "../../src/common/index.ts";
import { FAULTS } from "./faults.ts";
import { drawScenario, makeProbe, type Scenario } from "./scenario.ts";
import { type ClusterPlan, SimCluster } from "./sim-cluster.ts";
import type { RequestPlan, SimRequest } from "./sim-request.ts";
import { followNotes } from "./toy-model.ts";
import { World } from "./world.ts";

export interface SimulationResult {
  readonly violations: readonly string[];
  readonly log: readonly string[];
  readonly steps: number;
  /** How the requests ended. */
  readonly outcomes: readonly string[];
}

/** What is asked for behind all faults. */
const PROBE = makeProbe("probe", [1, 2, 3, 4, 5], 1, 4);

const READY_MS = 40_000;
/** All faults are over by then, and what they did is undone. */
const HEALED_MS = 3400;
const LATEST_END_MS = 20_000;
/** Requests that it may take until one is served. */
const PROBES = 3;
/** What is closed has told so by then. */
const QUIET_MS = 1700;

/** Tokens of undisturbed runs, by what they depend on. */
const references = new Map<string, readonly number[]>();

/** Plays what a seed stands for and says what must not have happened. */
export async function simulate(seed: number, isLogged = false): Promise<SimulationResult> {
  const scenario = drawScenario(seed);
  const world = new World(seed, isLogged);
  const expected = new Map<string, readonly number[]>();
  const plans = [...scenario.requests.map(({ plan }) => plan), PROBE];
  for (const plan of scenario.cluster.determinism === "strict" ? plans : []) {
    expected.set(keyOf(plan), await findReference(scenario.cluster, plan, world));
  }
  await play(world, async (cluster) => await runScenario(cluster, scenario, expected), scenario.cluster);
  const { violations, log, time } = world;
  return { violations, log: log ?? [], steps: time.steps, outcomes: world.outcomes };
}

async function play(world: World, story: (cluster: SimCluster) => Promise<void>, plan: ClusterPlan): Promise<void> {
  const uninstall = world.time.install();
  const { stackTraceLimit } = Error;
  // Errors are part of what is simulated; where they come from matters to whoever reads the log.
  if (world.log === null) Error.stackTraceLimit = 0;
  const onRejection = (reason: unknown): void =>
    world.violate(`nobody handles ${reason instanceof Error ? reason.stack : String(reason)}`);
  process.on("unhandledRejection", onRejection);
  try {
    await story(new SimCluster(world, plan));
  } catch (error) {
    world.violate(`something throws out of the blue: ${error instanceof Error ? error.stack : String(error)}`);
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
    uninstall();
    await new Promise((resolve) => setImmediate(resolve));
    process.off("unhandledRejection", onRejection);
  }
}

async function runScenario(
  cluster: SimCluster,
  scenario: Scenario,
  expected: ReadonlyMap<string, readonly number[]>,
): Promise<void> {
  const { world } = cluster;
  const { time } = world;
  world.note(JSON.stringify(scenario));
  cluster.startWorkers(scenario.started);
  if (!(await cluster.untilReady(READY_MS))) return world.violate("the cluster was never ready");
  world.note("ready");
  const random = world.random("faults");
  for (const { atMs, plan } of scenario.requests) time.schedule(atMs, null, () => cluster.request(plan));
  for (const { atMs, name } of scenario.faults) {
    time.schedule(atMs, null, () => {
      world.note(`fault ${name}`);
      must(FAULTS[name], name)(cluster, random);
    });
  }
  await time.run(time.nowMs + HEALED_MS, () => false);
  world.note("healing");
  heal(cluster);
  await time.run(time.nowMs + LATEST_END_MS, () => cluster.requests.every(({ isOver }) => isOver));
  await probe(cluster);
  await time.run(time.nowMs + QUIET_MS, () => false);
  for (const request of cluster.requests) checkOutput(world, request, expected.get(keyOf(request.plan)), scenario);
  checkLeaks(cluster);
}

function heal(cluster: SimCluster): void {
  const { network } = cluster.world;
  network.healAll();
  for (const worker of cluster.workers) {
    worker.resume();
    worker.drawEngineFailure = () => null;
    if (!worker.isRunning) worker.start();
  }
  cluster.killFormerCoordinators();
  cluster.coordinator.process.stalledUntilMs = 0;
  if (!cluster.coordinator.process.isAlive) cluster.startCoordinator();
}

/**
 * When the faults are over the cluster must come to serve again. A connection that was lost without a word is found out
 * by the first request that needs it.
 */
async function probe(cluster: SimCluster): Promise<void> {
  const { world } = cluster;
  let why = "";
  for (let attempt = 0; attempt < PROBES; attempt++) {
    if (!(await cluster.untilReady(READY_MS))) return world.violate("the cluster does not come back");
    const request = cluster.request(PROBE);
    await world.time.run(world.time.nowMs + LATEST_END_MS, () => request.isOver);
    if (request.outcome?.type === "complete") return;
    why = request.outcome?.type === "error" ? request.outcome.error.message : (request.outcome?.type ?? "");
    await world.time.run(world.time.nowMs + QUIET_MS, () => false);
  }
  world.violate(`the cluster says that it is ready and does not serve: ${why}`);
}

function checkOutput(
  world: World,
  { plan, tokens, outcome }: SimRequest,
  reference: readonly number[] | undefined,
  { cluster }: Scenario,
): void {
  world.outcomes.push(outcome?.type === "error" ? outcome.error.code : (outcome?.type ?? "none"));
  if (outcome === null) return world.violate(`${plan.name} has no end at all`);
  const text = tokens.join(",");
  if (reference !== undefined && reference.slice(0, tokens.length).join(",") !== text)
    world.violate(`${plan.name} got ${text}, without faults it is ${reference.join(",")}`);
  if (outcome.type !== "complete") return;
  if (tokens.length !== plan.maxTokens) world.violate(`${plan.name} is complete with ${tokens.length} tokens`);
  const { notes } = outcome.done;
  const noted = followNotes(plan.prompt, plan.seed, tokens.length, notes, cluster.rules).join(",");
  if (noted !== text) world.violate(`${plan.name} got ${text}, by its notes ${JSON.stringify(notes)} it is ${noted}`);
}

function checkLeaks(cluster: SimCluster): void {
  const { world } = cluster;
  const status = cluster.coordinator.coordinator?.status();
  for (const { name, host } of cluster.workers) {
    // A worker that has no stage any more, and was not told, frees sessions when their lease has run out.
    if (host === null || status?.stages.every(({ node }) => node !== `n-${name}`) === true) continue;
    if (host.sessions > 0) world.violate(`${name} still has ${host.sessions} sessions`);
    if (host.openSlots > 0) world.violate(`${name} still has ${host.openSlots} open slots`);
  }
  if (status === undefined) return;
  if (status.sessions.length > 0) world.violate(`the coordinator still has ${status.sessions.length} sessions`);
  if (status.serving.running > 0) world.violate(`the coordinator still has ${status.serving.running} taken slots`);
}

function keyOf({ prompt, seed }: RequestPlan): string {
  return `${prompt.join(",")}/${seed}`;
}

async function findReference(plan: ClusterPlan, request: RequestPlan, main: World): Promise<readonly number[]> {
  const key = JSON.stringify([plan.rules, plan.parallel, plan.prefillRows, keyOf(request)]);
  const known = references.get(key);
  if (known !== undefined) return known;
  const world = new World(1);
  let tokens: readonly number[] = [];
  const story = async (cluster: SimCluster): Promise<void> => {
    cluster.startWorkers(plan.workers);
    await cluster.untilReady(READY_MS);
    const alone = cluster.request(makeProbe("reference", request.prompt, request.seed));
    await world.time.run(world.time.nowMs + LATEST_END_MS, () => alone.isOver);
    if (alone.outcome?.type !== "complete") world.violate("it has no end");
    const epoch = cluster.coordinator.coordinator?.epoch;
    await world.time.run(world.time.nowMs + 2 * QUIET_MS, () => false);
    if (cluster.coordinator.coordinator?.epoch !== epoch) world.violate("the plan has changed");
    ({ tokens } = alone);
  };
  await play(world, story, plan);
  for (const violation of world.violations) main.violate(`the run without faults: ${violation}`);
  references.set(key, tokens);
  return tokens;
}
