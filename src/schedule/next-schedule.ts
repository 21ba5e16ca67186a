import { must } from "../common/index.ts";
import { countChunkRows } from "./chunk-rows.ts";
import { dealGroups, formDecodeBatch } from "./decode-batch.ts";
import { chooseNext } from "./turns.ts";
import type {
  Schedule,
  ScheduledBatch,
  SchedulePolicy,
  ScheduledRun,
  ScheduleState,
  ScheduleTurn,
  WaitingSession,
} from "./types.ts";

const FIRST_TURN: ScheduleTurn = { lastClient: null, lastPromptClient: null, decodesSincePrefill: 0 };

/**
 * Micro-batches to send now, in order. Pure: the same state and policy give the same schedule.
 *
 * Decode rows gather while `decodeInFlight` micro-batches are under way, so that few large ones circle. A prompt's chunk
 * stands between two of them at most; while nobody decodes, chunks follow one another. Neither side can starve the
 * other: behind a chunk the turn is with the decode rows, behind these with the prompts.
 */
export function nextSchedule(state: ScheduleState, policy: SchedulePolicy): Schedule {
  const planner = new Planner(state, policy);
  const batches: ScheduledBatch[] = [];
  while (batches.length < state.credits) {
    const batch = planner.next();
    if (batch === null) break;
    batches.push(batch);
  }
  return { batches, turn: planner.turn };
}

/** Arrays by slot that a schedule is made in: to make them anew for each would take longer than all the rest. */
class Workspace {
  readonly decoding: Uint8Array;
  readonly groupOf: Uint16Array;
  readonly busy: Uint8Array;

  constructor(slots: number) {
    this.decoding = new Uint8Array(slots);
    this.groupOf = new Uint16Array(slots);
    this.busy = new Uint8Array(slots + 1);
  }
}

let workspace = new Workspace(0);

/** Nothing of it outlives the call that asks for it. */
function takeWorkspace(slots: number): Workspace {
  if (workspace.decoding.length !== slots) workspace = new Workspace(slots);
  workspace.decoding.fill(0);
  return workspace;
}

/** What is left to choose from while one schedule is made. Slots index arrays: a call costs little however many decode. */
class Planner {
  readonly #policy: SchedulePolicy;
  /** Sessions with rows to send, as they are when the batches chosen so far have left. */
  readonly #waiting: WaitingSession[] = [];
  /** By slot: 1 for those that decode, waiting or under way. */
  readonly #decoding: Uint8Array;
  /** Slots of the decode rows that are under way, those chosen so far among them. */
  readonly #flying: number[] = [];
  #decodingSlots = 0;
  /** Sessions with rows of a prompt to send. */
  #prompts = 0;
  #decodesInFlight = 0;
  #chunksInFlight = 0;
  /** By slot, dealt for so many micro-batches in flight; -1 = not yet. */
  readonly #groupOf: Uint16Array;
  /** By group: 1 where a row of it is under way. */
  readonly #busy: Uint8Array;
  #dealtFor = -1;
  #lastClient: string | null;
  #lastPromptClient: string | null;
  #decodesSincePrefill: number;

  constructor(state: ScheduleState, policy: SchedulePolicy) {
    const turn = state.turn ?? FIRST_TURN;
    this.#lastClient = turn.lastClient;
    this.#lastPromptClient = turn.lastPromptClient;
    this.#decodesSincePrefill = turn.decodesSincePrefill;
    this.#policy = policy;
    const { decoding, groupOf, busy } = takeWorkspace(policy.slots);
    this.#decoding = decoding;
    this.#groupOf = groupOf;
    this.#busy = busy;
    for (const { phase, slots } of state.inFlight) {
      if (phase === "prefill") {
        this.#chunksInFlight += 1;
        continue;
      }
      this.#decodesInFlight += 1;
      for (const slot of slots) {
        this.#markDecoding(slot);
        this.#flying.push(slot);
      }
    }
    for (const session of state.sessions) {
      if (session.waitingRows <= 0) continue;
      this.#waiting.push(session);
      if (isDecoding(session)) this.#markDecoding(session.slot);
      else this.#prompts += 1;
    }
  }

  /** What the next schedule has to know of this one. */
  get turn(): ScheduleTurn {
    return {
      lastClient: this.#lastClient,
      lastPromptClient: this.#lastPromptClient,
      decodesSincePrefill: this.#decodesSincePrefill,
    };
  }

  next(): ScheduledBatch | null {
    const prompt = this.#mayReadPrompt() ? this.#choose(isReading, this.#lastPromptClient) : null;
    const decodesFirst = prompt === null || this.#decodesSincePrefill === 0;
    const decode = decodesFirst ? this.#decode() : null;
    if (decode !== null) return decode;
    // A chunk has its turn, or nothing else could leave: those that decode are all under way.
    return prompt === null || (decodesFirst && this.#decodingSlots > 0) ? null : this.#readChunk(prompt);
  }

  #markDecoding(slot: number): void {
    if (this.#decoding[slot] === 0) this.#decodingSlots += 1;
    this.#decoding[slot] = 1;
  }

  #mayReadPrompt(): boolean {
    if (this.#prompts === 0) return false;
    // One chunk for each stage and one that waits keep all stages busy; more would only stand before the first token.
    return this.#decodingSlots > 0 || this.#chunksInFlight <= this.#policy.stages;
  }

  #choose(fits: (session: WaitingSession) => boolean, lastClient: string | null): WaitingSession | null {
    return chooseNext(this.#waiting.filter(fits), lastClient);
  }

  /**
   * A row waits while others of its group are under way, so that rows that happen to be apart find together within a
   * round, and stay together.
   */
  #decode(): ScheduledBatch | null {
    const policy = this.#policyNow();
    if (this.#decodesInFlight >= policy.decodeInFlight) return null;
    const decoders = this.#waiting.filter(isDecoding);
    if (decoders.length === 0) return null;
    this.#deal(policy);
    const groupOf = this.#groupOf;
    const busy = this.#busy;
    const free = decoders.filter((session) => isArranged(session) || busy[groupOf[session.slot] as number] === 0);
    const first = chooseNext(free, this.#lastClient);
    if (first === null) return null;
    this.#decodesInFlight += 1;
    this.#lastClient = first.client;
    this.#decodesSincePrefill += 1;
    if (isArranged(first)) {
      return { phase: "decode", runs: [this.#fly(first)], pads: must(first.arranged, "arranged step").pads };
    }
    const group = groupOf[first.slot];
    const own = decoders.filter((session) => groupOf[session.slot] === group && !isArranged(session));
    const { members, pads } = formDecodeBatch(
      own.sort((a, b) => a.slot - b.slot),
      policy,
    );
    return { phase: "decode", runs: members.map((member) => this.#fly(member)), pads };
  }

  /** Which slots decode does not change while one schedule is made. */
  #deal(policy: SchedulePolicy): void {
    if (this.#dealtFor === policy.decodeInFlight) return;
    this.#dealtFor = policy.decodeInFlight;
    dealGroups(this.#decoding, policy, this.#groupOf);
    this.#busy.fill(0);
    for (const slot of this.#flying) this.#busy[this.#groupOf[slot] as number] = 1;
  }

  #policyNow(): SchedulePolicy {
    const { decodeInFlight, leastDecodeRows = 1 } = this.#policy;
    const most = Math.max(1, Math.floor(this.#decodingSlots / leastDecodeRows));
    return this.#prompts === 0 || most >= decodeInFlight ? this.#policy : { ...this.#policy, decodeInFlight: most };
  }

  #fly(session: WaitingSession): ScheduledRun {
    this.#flying.push(session.slot);
    this.#busy[this.#groupOf[session.slot] as number] = 1;
    return this.#take(session, 1);
  }

  #readChunk(session: WaitingSession): ScheduledBatch {
    const { position, promptRows, waitingRows, arranged, client } = session;
    const left = Math.min(waitingRows, promptRows - position);
    const beside = { decoding: this.#decodingSlots, reading: this.#prompts };
    const rows =
      arranged === undefined || arranged === null
        ? countChunkRows(session, position, left, beside, this.#policy)
        : Math.min(arranged.rows, left);
    this.#chunksInFlight += 1;
    this.#lastPromptClient = client;
    this.#decodesSincePrefill = 0;
    return { phase: "prefill", runs: [this.#take(session, rows)], pads: arranged?.pads ?? [] };
  }

  #take(session: WaitingSession, rows: number): ScheduledRun {
    const { id, position, waitingRows, promptRows, allOutputs } = session;
    const left = waitingRows - rows;
    const inPrompt = position < promptRows;
    const place = this.#waiting.indexOf(session);
    // An arranged step is chosen one at a time: the next call names the next one.
    if (left <= 0 || isArranged(session)) {
      this.#waiting.splice(place, 1);
      if (inPrompt) this.#prompts -= 1;
    } else this.#waiting[place] = { ...session, position: position + rows, waitingRows: left };
    const output = allOutputs && inPrompt ? "all" : left <= 0 ? "last" : "none";
    return { sessionId: id, position, rows, output };
  }
}

function isArranged(session: WaitingSession): boolean {
  return session.arranged !== undefined && session.arranged !== null;
}

function isReading(session: WaitingSession): boolean {
  return session.position < session.promptRows;
}

function isDecoding(session: WaitingSession): boolean {
  return session.position >= session.promptRows;
}
