import type { SessionId } from "../../protocol/index.ts";
import type { Session } from "./session.ts";

/** The sessions that the runner serves: which of them have rows to send, and which wait for their last steps. */
export class SessionTable {
  readonly #sessions = new Map<SessionId, Session>();
  /** Those with rows to send. */
  readonly #ready = new Map<SessionId, Session>();
  readonly #settling = new Map<SessionId, () => void>();
  #readyCount = 0;

  get all(): Iterable<Session> {
    return this.#sessions.values();
  }

  get size(): number {
    return this.#sessions.size;
  }

  get ready(): readonly Session[] {
    return [...this.#ready.values()];
  }

  get hasReady(): boolean {
    return this.#ready.size > 0;
  }

  find(id: SessionId): Session | undefined {
    return this.#sessions.get(id);
  }

  add(session: Session): void {
    this.#sessions.set(session.id, session);
  }

  remove(session: Session): void {
    this.#sessions.delete(session.id);
    this.#ready.delete(session.id);
    this.clearSteps(session);
  }

  /** Nothing of it is to be sent, for now. */
  hold(id: SessionId): void {
    this.#ready.delete(id);
  }

  /** Looks whether it has rows to send. @param epoch of the pipeline that takes steps; null while there is none */
  refresh(session: Session, epoch: number | null): void {
    if (!this.#sessions.has(session.id) || session.epoch !== epoch || session.waitingRows <= 0) {
      this.#ready.delete(session.id);
      return;
    }
    if (this.#ready.has(session.id)) return;
    this.#readyCount += 1;
    session.readySince = this.#readyCount;
    this.#ready.set(session.id, session);
  }

  /** One of its steps is not under way any more. */
  endStep(session: Session): void {
    session.stepsInFlight = Math.max(0, session.stepsInFlight - 1);
    if (session.stepsInFlight === 0) this.#settling.get(session.id)?.();
  }

  /** None of its steps is under way any more. */
  clearSteps(session: Session): void {
    session.stepsInFlight = 0;
    this.#settling.get(session.id)?.();
  }

  /** Resolves when no step of the session is under way, or when the time is over. */
  settle(session: Session, timeoutMs: number): Promise<void> {
    if (session.stepsInFlight === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#settling.get(session.id)?.(), timeoutMs);
      this.#settling.set(session.id, () => {
        clearTimeout(timer);
        this.#settling.delete(session.id);
        resolve();
      });
    });
  }
}
