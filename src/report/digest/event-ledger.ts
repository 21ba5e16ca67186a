import type { EventRecord } from "../../observe/index.ts";
import type { EventDigest } from "./run-digest.ts";

const MAX_NAMES = 100;

/** Counts events by name. */
export class EventLedger {
  readonly #events = new Map<string, { severity: string; count: number; firstMs: number; message: string }>();

  add(record: EventRecord, atMs: number): void {
    const known = this.#events.get(record.name);
    if (known !== undefined) {
      known.count += 1;
      known.message = record.message;
    } else if (this.#events.size < MAX_NAMES) {
      this.#events.set(record.name, { severity: record.severity, count: 1, firstMs: atMs, message: record.message });
    }
  }

  /** In the order of their first coming. */
  list(originMs: number): readonly EventDigest[] {
    return [...this.#events].map(([name, { severity, count, firstMs, message }]) => ({
      name,
      severity,
      count,
      firstAtS: (firstMs - originMs) / 1000,
      lastMessage: message,
    }));
  }
}
