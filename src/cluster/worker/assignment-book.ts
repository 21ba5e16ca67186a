import { sum } from "../../common/index.ts";
import type { Assignment } from "./assignment.ts";

/** The stages that a worker is to hold, by epoch: one, or another beside it while a plan follows another. */
export class AssignmentBook {
  readonly #byEpoch = new Map<number, Assignment>();

  get size(): number {
    return this.#byEpoch.size;
  }

  /** The newest that is loaded; the newest of all where none is. */
  get served(): Assignment | undefined {
    const all = [...this];
    return all.findLast(({ loaded }) => loaded !== null) ?? all.at(-1);
  }

  /** The oldest with something to do. */
  get unsettled(): Assignment | undefined {
    return [...this].find(({ settled }) => !settled);
  }

  [Symbol.iterator](): IterableIterator<Assignment> {
    return this.#byEpoch.values();
  }

  has(assignment: Assignment): boolean {
    return this.#byEpoch.get(assignment.epoch) === assignment;
  }

  /** One that is not beside the others takes their place. */
  add(assignment: Assignment): void {
    if (!assignment.assign.beside) this.abortAll();
    this.remove(assignment.epoch);
    this.#byEpoch.set(assignment.epoch, assignment);
  }

  /** @returns false when there is none of that epoch */
  remove(epoch: number): boolean {
    this.#byEpoch.get(epoch)?.abort.abort();
    return this.#byEpoch.delete(epoch);
  }

  abortAll(): void {
    for (const epoch of this.#byEpoch.keys()) this.remove(epoch);
  }

  /** What the stages hold that stay while this one is loaded. */
  bytesBeside(assignment: Assignment): number {
    if (!assignment.assign.beside) return 0;
    const others = [...this].filter((other) => other !== assignment);
    return sum(
      others.map(({ loaded }) =>
        loaded === null ? 0 : loaded.info.weightsBytes + loaded.info.kvBytes + loaded.info.computeBufferBytes,
      ),
    );
  }
}
