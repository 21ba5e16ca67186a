/**
 * What a stage does with a step, as a pure function of what it has computed so far. The rules are those of the
 * protocol: the step key is (session, fence, epoch, branch, position, rows); fence and branch order the attempts at a
 * session's future, the later one wins; nothing older ever changes state.
 */

/** What the stage remembers of a session. */
export interface SessionPosition {
  readonly fence: number;
  readonly branch: number;
  /** Position that the next step of this fence and branch takes. */
  readonly nextPosition: number;
  /** The last computed step of this fence and branch; absent before the first and after a new fence. */
  readonly last?: { readonly position: number; readonly rows: number };
}

/** One run of a frame. */
export interface Step {
  readonly epoch: number;
  readonly fence: number;
  readonly branch: number;
  readonly position: number;
  readonly rows: number;
}

export interface StepLimits {
  /** Epoch of the loaded stage. */
  readonly epoch: number;
  readonly contextTokens: number;
}

export type StepDecision =
  /** Compute; first drop positions >= `truncateTo` where it is given. `next` is the state after success. */
  | { readonly type: "compute"; readonly truncateTo?: number; readonly next: SessionPosition }
  /** The same key as the last step: answer with the kept reply. */
  | { readonly type: "resend" }
  | {
      readonly type: "refuse";
      readonly code: "STALE_EPOCH" | "STEP_OUT_OF_ORDER" | "CONTEXT_EXCEEDED" | "FRAME_INVALID";
      readonly reason: string;
      readonly details: Readonly<Record<string, number>>;
    };

export function decideStep(session: SessionPosition, step: Step, limits: StepLimits): StepDecision {
  const have = {
    have: session.nextPosition,
    haveEpoch: limits.epoch,
    haveFence: session.fence,
    haveBranch: session.branch,
  };
  if (step.epoch !== limits.epoch) {
    return refuse("STALE_EPOCH", `step of epoch ${step.epoch}, the stage serves epoch ${limits.epoch}`, have);
  }
  if (step.rows < 1) return refuse("FRAME_INVALID", `step of ${step.rows} rows`, have);
  const age = compareAttempts(step, session);
  if (age < 0) {
    const asked = `fence ${step.fence} branch ${step.branch}`;
    return refuse("STALE_EPOCH", `step of ${asked}, the session is at ${session.fence} branch ${session.branch}`, have);
  }
  const { last, nextPosition } = session;
  if (age === 0 && last !== undefined && last.position === step.position && last.rows === step.rows) {
    return { type: "resend" };
  }
  if (step.position > nextPosition || (age === 0 && step.position < nextPosition)) {
    return refuse("STEP_OUT_OF_ORDER", `step at position ${step.position}, expected ${nextPosition}`, have);
  }
  const end = step.position + step.rows;
  if (end > limits.contextTokens) {
    return refuse("CONTEXT_EXCEEDED", `${end} tokens, the limit is ${limits.contextTokens} (--context)`, {
      ...have,
      limit: limits.contextTokens,
    });
  }
  const next: SessionPosition = {
    fence: step.fence,
    branch: step.branch,
    nextPosition: end,
    last: { position: step.position, rows: step.rows },
  };
  return step.position < nextPosition
    ? { type: "compute", truncateTo: step.position, next }
    : { type: "compute", next };
}

/** Below 0 when the step's attempt is older than the session's, above 0 when it is newer. */
function compareAttempts(step: Step, session: SessionPosition): number {
  return step.fence - session.fence || step.branch - session.branch;
}

function refuse(
  code: Extract<StepDecision, { type: "refuse" }>["code"],
  reason: string,
  details: Readonly<Record<string, number>>,
): StepDecision {
  return { type: "refuse", code, reason, details };
}
