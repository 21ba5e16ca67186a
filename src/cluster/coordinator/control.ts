import {
  apply,
  type ClusterAction,
  type ClusterConfig,
  type ClusterEvent,
  type ClusterState,
  createState,
  decide,
  type Fault,
  type Plan,
} from "../state/index.ts";
import type { Clock } from "./clock.ts";

/** Leases are looked at this often. */
const TICK_MS = 250;

/** A tick this late means that this process stood still, and heard nobody. */
const LAG_TOLERATED_MS = 250;

/** Carries out what the state asks for. */
export interface ControlEffects {
  /** The plan is in force: tell its holders. */
  assign(plan: Plan): void;
  /** The node is out: drop its connection. */
  expire(nodeId: string, incarnation: string, fault: Fault): void;
  endSession(sessionId: string, fault: Fault): void;
  /** After every event, with all actions done. */
  changed(state: ClusterState): void;
}

/** The cluster's state and the loop around it: event in, actions out. */
export class Control {
  readonly #clock: Clock;
  readonly #effects: ControlEffects;
  readonly #queue: ClusterEvent[] = [];
  readonly #watchers = new Set<() => void>();
  #state: ClusterState;
  #busy = false;
  #timer: NodeJS.Timeout | null = null;
  #lastTickMs: number;

  constructor(config: ClusterConfig, clock: Clock, effects: ControlEffects) {
    this.#state = createState(config);
    this.#clock = clock;
    this.#effects = effects;
    this.#lastTickMs = clock.nowMs();
  }

  get state(): ClusterState {
    return this.#state;
  }

  start(): void {
    this.#lastTickMs = this.#clock.nowMs();
    this.#timer = setInterval(() => this.tick(), TICK_MS);
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    this.wakeWatchers();
  }

  /** Something that `nextChange` waits for has changed beside the state. */
  wakeWatchers(): void {
    for (const watcher of this.#watchers) watcher();
  }

  /** Looks at the leases. Time in which this process stood still does not count against the workers. */
  tick(): void {
    const nowMs = this.#clock.nowMs();
    const lagMs = nowMs - this.#lastTickMs - TICK_MS;
    this.#lastTickMs = nowMs;
    if (lagMs > LAG_TOLERATED_MS) this.dispatch({ type: "lagged", lagMs });
    else this.#run();
  }

  /** Applies an event and does what follows. An event from within an effect waits for its turn. */
  dispatch(event: ClusterEvent): void {
    this.#queue.push(event);
    this.#run();
  }

  /** Resolves at the next change of the state, or when the time is over. */
  nextChange(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#watchers.delete(done);
        resolve();
      };
      const timer = setTimeout(done, timeoutMs);
      this.#watchers.add(done);
    });
  }

  #run(): void {
    if (this.#busy) return;
    this.#busy = true;
    try {
      for (let before: ClusterState | null = null; this.#queue.length > 0 || this.#state !== before; ) {
        const event = this.#queue.shift();
        if (event !== undefined) this.#state = apply(this.#state, event);
        before = this.#state;
        for (const action of decide(this.#state, this.#clock.nowMs())) this.#perform(action);
      }
    } finally {
      this.#busy = false;
    }
    this.#effects.changed(this.#state);
    this.wakeWatchers();
  }

  #perform(action: ClusterAction): void {
    switch (action.type) {
      case "assign":
        this.#state = apply(this.#state, { type: "planned", plan: action.plan });
        this.#effects.assign(action.plan);
        return;
      case "expire": {
        const { nodeId, incarnation, fault } = action;
        this.#state = apply(this.#state, { type: "lost", nodeId, incarnation, fault });
        this.#effects.expire(nodeId, incarnation, fault);
        return;
      }
      case "replan":
        this.#state = apply(this.#state, { type: "replanned", plan: action.plan, mode: "beside" });
        return;
      case "strand": {
        const { sessionId, fault } = action;
        this.#state = apply(this.#state, { type: "sessionStranded", sessionId, fault, nowMs: this.#clock.nowMs() });
        return;
      }
      case "endSession":
        this.#effects.endSession(action.sessionId, action.fault);
        return;
      default:
        action satisfies never;
    }
  }
}
