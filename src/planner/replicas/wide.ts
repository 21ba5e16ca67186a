import type { Deadline } from "../deadline.ts";
import type { Draft, DraftStage } from "../draft.ts";
import type { Kinds } from "../kinds.ts";
import { digitOf, openStateSpace, type StateSpace } from "../states/state-space.ts";

const STATES_MAX = 2 ** 18;
/** (State, stage) pairs of one test. */
const WORK_MAX = 2 ** 24;
const HALVINGS = 24;

/** Some nodes of some kinds that serve a stage together. */
interface Team {
  /** How many of each kind. */
  readonly counts: readonly number[];
  /** What they add to a state. */
  readonly stride: number;
}

/**
 * One pipeline of stages that up to R nodes serve together, of little period: a threshold search over states in which
 * hops are left out, so the best there is wherever hops are quick enough.
 *
 * @returns null where there are too many states, or tables
 * @throws TimeIsUp
 */
export function planWide(kinds: Kinds, highMs: number, lowMs: number, deadline: Deadline): Draft | null {
  const { instance } = kinds;
  const space = openStateSpace(kinds, STATES_MAX);
  if (space === null || instance.nodes.some((node) => node.tableMs !== null)) return null;
  const teams = listTeams(space, instance.replicas, WORK_MAX / space.size);
  if (teams === null) return null;
  let best: Draft | null = null;
  let [low, high] = [lowMs, highMs];
  for (let step = 0; step < HALVINGS && high - low > 1e-6 * high; step++) {
    const middle = low + (high - low) / 2;
    const found = probeTeams(space, teams, middle, deadline);
    if (found === null) low = middle;
    else {
      best = found;
      high = middle;
    }
  }
  return best;
}

/** All teams of at most `replicas` nodes; null when there are more than `most`. */
function listTeams(space: StateSpace, replicas: number, most: number): Team[] | null {
  let teams: Team[] = [{ counts: [], stride: 0 }];
  for (const [kind, count] of space.counts.entries()) {
    const longer: Team[] = [];
    for (const team of teams) {
      const used = team.counts.reduce((a, b) => a + b, 0);
      for (let more = 0; more <= Math.min(count, replicas - used); more++) {
        longer.push({ counts: [...team.counts, more], stride: team.stride + more * (space.strides[kind] as number) });
      }
    }
    if (longer.length > most) return null;
    teams = longer;
  }
  return teams.filter((team) => team.stride > 0);
}

function probeTeams(space: StateSpace, teams: readonly Team[], limitMs: number, deadline: Deadline): Draft | null {
  const { units } = space.kinds.instance;
  const ends = teams.map((team) => reachTogether(space.kinds, team, limitMs));
  const prefixes = new Int16Array(space.size);
  const chosen = new Int32Array(space.size).fill(-1);
  const fits = (state: number, team: Team): boolean =>
    team.counts.every(
      (count, kind) => count === 0 || digitOf(space, state, kind) + count <= (space.counts[kind] as number),
    );
  for (let state = 0; state < space.size; state++) {
    if (state % 256 === 0) deadline.check();
    const from = prefixes[state] as number;
    if (state > 0 && from === 0) continue;
    for (const [index, team] of teams.entries()) {
      const end = (ends[index] as Int16Array)[from] as number;
      const to = state + team.stride;
      if (end === from || to >= space.size || end <= (prefixes[to] as number) || !fits(state, team)) continue;
      prefixes[to] = end;
      chosen[to] = index;
      if (end === units) return traceTeams(space.kinds, teams, prefixes, chosen, to);
    }
  }
  return null;
}

function traceTeams(
  kinds: Kinds,
  teams: readonly Team[],
  prefixes: Int16Array,
  chosen: Int32Array,
  last: number,
): Draft {
  const stages: DraftStage[] = [];
  const used = new Array<number>(kinds.size).fill(0);
  for (let state = last; state > 0; ) {
    const team = teams[chosen[state] as number] as Team;
    const before = state - team.stride;
    const nodes = team.counts.flatMap((count, kind) => {
      const start = used[kind] as number;
      used[kind] = start + count;
      return (kinds.members[kind] as readonly number[]).slice(start, start + count);
    });
    stages.unshift({ nodes, first: prefixes[before] as number, end: prefixes[state] as number, pipeline: 0 });
    state = before;
  }
  return stages;
}

/** Like `reachEnds`, for nodes whose throughputs add. */
function reachTogether(kinds: Kinds, team: Team, limitMs: number): Int16Array {
  const { instance } = kinds;
  const { units } = instance;
  const members = [...team.counts.entries()].filter(([, count]) => count > 0);
  const isAllowed = (first: number, end: number): boolean => {
    let rate = 0;
    for (const [kind, count] of members) {
      const node = kinds.node(kind);
      if (!instance.fits(node, first, end)) return false;
      rate += count / instance.stageMs(node, first, end);
    }
    return rate >= 1 / limitMs;
  };
  const ends = new Int16Array(units + 1);
  ends[units] = units;
  let end = 0;
  for (let first = 0; first < units; first++) {
    end = Math.max(end, first);
    while (end < units && isAllowed(first, end + 1)) end++;
    ends[first] = end;
  }
  return ends;
}
