import {
  choosePolicy,
  type ClassNotes,
  CostMeter,
  countRecordedReuse,
  countStrictReuse,
  type Determinism,
  type RowClasses,
  type SchedulePolicy,
} from "../../schedule/index.ts";

/** Parts of the policy that are not chosen by what steps take; null = chosen. */
export interface WantedPolicy {
  readonly decodeInFlight: number | null;
  /** Rows of one micro-batch at most. */
  readonly maxDecodeRows?: number | null;
  readonly prefillRows: number | null;
  readonly mixedPrefillRows: number | null;
}

/** What a new pipeline's stages are like. */
export interface PipelineFacts {
  /** Row classes of every stage; empty where they are not known. */
  readonly classes: readonly RowClasses[];
  /** Keys and values of one position, all stages together. */
  readonly kvBytesPerToken: number;
  /** What the plan wants of the policy; null = nothing. */
  readonly wanted: WantedPolicy | null;
}

export interface PolicyKeeperOptions {
  /** KV sequences. */
  readonly slots: number;
  /** Rows that a stage takes in one step. */
  readonly maxRows: number;
  readonly determinism: Determinism;
  /** Above what a plan wants. */
  readonly wanted: WantedPolicy;
}

/** Steps after which the policy is chosen anew by what they took. */
const STEPS_PER_POLICY = 16;

/** Chooses the policy by the stages there are and by what steps take, and judges by it what may be reused. */
export class PolicyKeeper {
  readonly meter = new CostMeter();
  readonly #options: PolicyKeeperOptions;
  #facts: PipelineFacts = { classes: [], kvBytesPerToken: 0, wanted: null };
  #policy: SchedulePolicy | null = null;

  constructor(options: PolicyKeeperOptions) {
    this.#options = options;
  }

  get facts(): PipelineFacts {
    return this.#facts;
  }

  /** The stages are others. */
  set facts(facts: PipelineFacts) {
    this.#facts = facts;
  }

  /** Whether enough was learnt since the last choice for another. */
  get isDue(): boolean {
    return this.meter.steps % STEPS_PER_POLICY === 0;
  }

  choose(stages: number): SchedulePolicy {
    const { slots, maxRows, determinism } = this.#options;
    // In strict, nothing of the load may show: what is measured is part of it.
    const costs = determinism === "strict" || this.meter.steps === 0 ? null : this.meter.read();
    const { classes } = this.#facts;
    const wanted = this.#mergeWanted();
    this.#policy = choosePolicy({ stages, slots, determinism, classes, costs, maxRows, wanted });
    return this.#policy;
  }

  /** How many of the first `tokens` positions may be reused for a prompt of `promptRows`. */
  countReuse(notes: ClassNotes, tokens: number, promptRows: number): number {
    const { classes } = this.#facts;
    return this.#options.determinism === "strict"
      ? countStrictReuse(notes, tokens, promptRows, this.#policy?.prefillRows ?? 1, classes)
      : countRecordedReuse(notes, tokens, classes);
  }

  #mergeWanted(): WantedPolicy {
    const { wanted } = this.#options;
    const planned = this.#facts.wanted;
    return {
      decodeInFlight: wanted.decodeInFlight ?? planned?.decodeInFlight ?? null,
      maxDecodeRows: wanted.maxDecodeRows ?? planned?.maxDecodeRows ?? null,
      prefillRows: wanted.prefillRows ?? planned?.prefillRows ?? null,
      mixedPrefillRows: wanted.mixedPrefillRows ?? planned?.mixedPrefillRows ?? null,
    };
  }
}
