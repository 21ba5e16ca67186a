import { type ClusterState, judgeHealth } from "../state/index.ts";

export interface HoldOptions {
  /** Steps can run. */
  readonly isServing: () => boolean;
  readonly onRelease: () => void;
}

/**
 * On from the moment in which a plan waits for the end of all sessions until the plan that follows serves: what comes
 * meanwhile waits in line. Over, too, when nothing can follow without another worker.
 */
export class Hold {
  readonly #options: HoldOptions;
  #isOn = false;

  constructor(options: HoldOptions) {
    this.#options = options;
  }

  get isOn(): boolean {
    return this.#isOn;
  }

  /** Before the state is acted on. */
  begin({ next, plan }: ClusterState): void {
    if (next?.mode === "drain" || plan?.fallback !== undefined) this.#isOn = true;
  }

  /** After the state was acted on. */
  settle(state: ClusterState): void {
    if (!this.#isOn || state.next?.mode === "drain" || !this.#isSettled(state)) return;
    this.#isOn = false;
    this.#options.onRelease();
  }

  #isSettled(state: ClusterState): boolean {
    const health = judgeHealth(state);
    if (health.status === "failed" || (health.status === "ready" && this.#options.isServing())) return true;
    const { plan } = state;
    return plan !== null && plan.fallback === undefined && plan.stages.some(({ nodeId }) => nodeId === null);
  }
}
