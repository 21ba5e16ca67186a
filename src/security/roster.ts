import { NoodleError } from "../common/index.ts";
import type { Membership } from "./membership.ts";

const LOOK_MS = 500;

/**
 * Whom the coordinator shuts out right now: it looks again and again at what another process may have written. While the
 * folder cannot be read, whoever was shut out stays so.
 */
export class Roster implements Disposable {
  readonly #membership: Membership;
  readonly #timer: NodeJS.Timeout;
  readonly #listeners = new Set<(revoked: ReadonlySet<string>) => void>();
  #revoked: ReadonlySet<string>;

  /** @throws NoodleError where the folder can't be read at the start */
  constructor(membership: Membership, onError: (error: NoodleError) => void, lookMs = LOOK_MS) {
    this.#membership = membership;
    this.#revoked = new Set(membership.revoked());
    this.#timer = setInterval(() => {
      try {
        this.look();
      } catch (error) {
        onError(NoodleError.from(error));
      }
    }, lookMs);
    this.#timer.unref();
  }

  get revoked(): ReadonlySet<string> {
    return this.#revoked;
  }

  /** @returns a function that ends it */
  onRevoked(listener: (revoked: ReadonlySet<string>) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Looks now. */
  look(): void {
    const revoked = new Set(this.#membership.revoked());
    if (revoked.size === this.#revoked.size) return;
    this.#revoked = revoked;
    for (const listener of this.#listeners) listener(revoked);
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.#listeners.clear();
  }
}
