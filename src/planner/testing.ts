import type { Problem, ProblemNode } from "./document.ts";
import { evaluatePlan, type StageRange } from "./evaluate.ts";

/** Random numbers in [0,1) that a seed fixes (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** What a random problem has; the rest is drawn. */
export interface Family {
  readonly nodes: number;
  readonly units: number;
  readonly links?: "free" | "uniform" | "directed" | "regions";
  readonly memory?: "none" | "loose" | "tight";
  readonly tables?: "none" | "some" | "all";
  readonly blocks?: "alike" | "unlike";
  readonly twins?: boolean;
}

/** A small random problem with round numbers, so that ties happen; the objective is `period`. */
export function drawProblem(random: () => number, family: Family): Problem {
  const { nodes: count, units, links = "uniform", memory = "none", tables = "none", blocks = "unlike" } = family;
  const upTo = (most: number): number => 1 + Math.floor(random() * most);
  const isEnd = (unit: number): boolean => unit === 0 || unit === units - 1;
  const blockMs = upTo(6);
  const base = Array.from({ length: units }, (_, unit) => (isEnd(unit) || blocks === "unlike" ? upTo(12) : blockMs));
  const blockBytes = upTo(4);
  const unitBytes = base.map((_, unit) => (isEnd(unit) || blocks === "unlike" ? upTo(6) : blockBytes));
  const totalBytes = unitBytes.reduce((a, b) => a + b, 0);
  const nodes: ProblemNode[] = [];
  for (let index = 0; index < count; index++) {
    const twin = nodes[index - 1];
    if (family.twins === true && twin !== undefined && random() < 0.5) {
      nodes.push({ ...twin, id: `n${index}` });
      continue;
    }
    const speed = upTo(4);
    const isTable = tables === "all" || (tables === "some" && random() < 0.5);
    const share = memory === "tight" ? 0.5 : 1.2;
    nodes.push({
      id: `n${index}`,
      ...(memory === "none" || random() < 0.1
        ? {}
        : { memory_bytes: Math.ceil((totalBytes / count) * (share + 1.2 * random())) }),
      ...(isTable
        ? { stage_ms_by_count: drawTable(random, units, speed) }
        : { unit_ms: base.map((ms) => ms * speed), overhead_ms: Math.floor(random() * 4) }),
      ...(random() < 0.2 ? { max_units: upTo(units) } : {}),
    });
  }
  const region = nodes.map(() => random() < 0.5);
  const drawLink = (): { latency_ms: number; bytes_per_ms: number } => ({
    latency_ms: Math.floor(random() * 8),
    bytes_per_ms: 64 / upTo(24),
  });
  const [near, far] = [drawLink(), drawLink()];
  const pairs = nodes.flatMap((from, a) =>
    nodes.flatMap((to, b) => {
      if (a === b || links === "uniform" || links === "free") return [];
      if (links === "directed") return random() < 0.8 ? [{ from: from.id, to: to.id, ...drawLink() }] : [];
      return [{ from: from.id, to: to.id, ...(region[a] === region[b] ? near : far) }];
    }),
  );
  return {
    units,
    unit_bytes: unitBytes,
    ...(memory === "none" ? {} : { kv_bytes_per_token: base.map((_, unit) => (isEnd(unit) ? 0 : 1)), cache_tokens: 1 }),
    ...(units > 1 && random() < 0.5 ? { tied_units: [[0, units - 1]] } : {}),
    nodes,
    ...(links === "free" ? {} : { links: { default: drawLink(), pairs } }),
    activation_bytes: 64,
    ...(random() < 0.5 ? { return_bytes: 16 } : {}),
    objective: "period",
  };
}

/** Times that go up and down with the count; some counts are missing. */
function drawTable(random: () => number, units: number, speed: number): Record<string, number> {
  const table: Record<string, number> = {};
  for (let count = 1; count <= units; count++) {
    if (random() < 0.75) table[String(count)] = Math.ceil(speed * count * (1 + 9 * random()));
  }
  return Object.keys(table).length === 0 ? { "1": speed * 10 } : table;
}

export interface Truth {
  readonly stages: readonly StageRange[];
  readonly periodMs: number;
  readonly latencyMs: number;
  readonly nodes: number;
}

/** Every plan that the problem allows, by writing all of them down: for small problems. */
export function listAllPlans(problem: Problem): Truth[] {
  const ids = problem.nodes.map((node) => node.id);
  const plans: StageRange[][] =
    (problem.replicas ?? 1) === 1
      ? listChains(ids, problem.units, 1).map(({ stages }) => stages)
      : listCopies(ids, problem.units, problem.replicas ?? 1);
  return plans.flatMap((stages) => {
    const value = evaluatePlan(problem, stages);
    if (value.violations.length > 0) return [];
    const nodes = stages.reduce((sum, stage) => sum + stage.nodes.length, 0);
    return [{ stages, periodMs: value.period_ms, latencyMs: value.latency_ms, nodes }];
  });
}

interface Chain {
  readonly stages: StageRange[];
  readonly used: ReadonlySet<string>;
  readonly width: number;
}

function listChains(ids: readonly string[], units: number, width: number): Chain[] {
  const chains: Chain[] = [];
  const grow = (stages: StageRange[], used: ReadonlySet<string>, widest: number): void => {
    const first = stages.at(-1)?.end ?? 0;
    if (first === units) {
      chains.push({ stages, used, width: widest });
      return;
    }
    const spare = ids.filter((id) => !used.has(id));
    for (const nodes of listSets(spare, width)) {
      for (let end = first + 1; end <= units; end++) {
        grow([...stages, { nodes, first, end }], new Set([...used, ...nodes]), Math.max(widest, nodes.length));
      }
    }
  };
  grow([], new Set(), 0);
  return chains;
}

/** Pipelines side by side whose widths add up to at most `replicas`. */
function listCopies(ids: readonly string[], units: number, replicas: number): StageRange[][] {
  const plans: StageRange[][] = [];
  const add = (before: StageRange[], spare: readonly string[], left: number, pipeline: number): void => {
    for (const chain of listChains(spare, units, left)) {
      const stages = [...before, ...chain.stages.map((stage) => ({ ...stage, pipeline }))];
      plans.push(stages);
      // Pipelines are named in the order of their smallest nodes.
      const least = [...chain.used].sort()[0] ?? "";
      const after = spare.filter((id) => !chain.used.has(id) && id > least);
      if (left > chain.width && after.length > 0) {
        add(
          stages,
          spare.filter((id) => !chain.used.has(id)),
          left - chain.width,
          pipeline + 1,
        );
      }
    }
  };
  add([], ids, replicas, 0);
  return plans;
}

function listSets(ids: readonly string[], most: number): string[][] {
  let sets: string[][] = [[]];
  for (const id of ids) sets = [...sets, ...sets.filter((set) => set.length < most).map((set) => [...set, id])];
  return sets.filter((set) => set.length > 0);
}
