import type { LogChain } from "./log-chains.ts";
import type { LogCounter } from "./log-summary.ts";
import { type ReadLogOptions, readLogBatches } from "./read-log.ts";
import type { LogRow } from "./schemas.ts";

export interface MergeOptions extends Pick<ReadLogOptions, "onBad" | "signal"> {
  /** Counts what is read. */
  readonly counter?: LogCounter;
  /** Called for a file whose rows have no header. */
  readonly onNoHeader?: (path: string) => void;
}

/** Yields in pieces, so that a row costs no turn of the event loop. */
const BATCH_ROWS = 1024;

/**
 * Joins chains of files in the order of their rows' wall time, a batch at a time; rows of one chain keep their order.
 * Holds one batch of each chain in memory.
 *
 * @throws as `readLogBatches`; `LOG_VERSION` of any file before the first row is given
 */
export async function* mergeLogs(
  chains: readonly LogChain[],
  options: MergeOptions = {},
): AsyncGenerator<readonly LogRow[], void, void> {
  for (const path of chains.flatMap((chain) => chain.paths)) await checkBeginning(path, options.signal);
  const sources: Source[] = [];
  try {
    for (const chain of chains) {
      const source = new Source(chain, options);
      sources.push(source);
      await source.fill();
    }
    let batch: LogRow[] = [];
    for (;;) {
      const source = findEarliest(sources);
      const row = source?.next;
      if (source === null || row === undefined) break;
      batch.push(row);
      source.skip();
      if (source.next === undefined) await source.fill();
      if (batch.length >= BATCH_ROWS) {
        yield batch;
        batch = [];
      }
    }
    if (batch.length > 0) yield batch;
  } finally {
    for (const source of sources) await source.close();
  }
}

/** The beginning decides whether a file is refused: before the first word about any of them. */
async function checkBeginning(path: string, signal: AbortSignal | undefined): Promise<void> {
  const batches = readLogBatches(path, signal === undefined ? {} : { signal });
  await batches.next();
  await batches.return();
}

/** A chain that is being read. */
class Source {
  readonly #batches: AsyncGenerator<readonly LogRow[], void, void>;
  #rows: readonly LogRow[] = [];
  #index = 0;

  constructor(chain: LogChain, options: MergeOptions) {
    this.#batches = readChain(chain, options);
  }

  /** The next row; undefined behind the last. */
  get next(): LogRow | undefined {
    return this.#rows[this.#index];
  }

  skip(): void {
    this.#index += 1;
  }

  async fill(): Promise<void> {
    const next = await this.#batches.next();
    this.#rows = next.done === true ? [] : next.value;
    this.#index = 0;
  }

  async close(): Promise<void> {
    await this.#batches.return();
  }
}

function findEarliest(sources: readonly Source[]): Source | null {
  let earliest: Source | null = null;
  for (const source of sources) {
    if (source.next !== undefined && isEarlier(source.next, earliest?.next)) earliest = source;
  }
  return earliest;
}

function isEarlier(row: LogRow, other: LogRow | undefined): boolean {
  if (other === undefined || row.time_unix_ns < other.time_unix_ns) return true;
  // Wall times come in steps; within one, the finer clock tells the streams of one producer apart.
  return row.time_unix_ns === other.time_unix_ns && row.mono_ns < other.mono_ns;
}

async function* readChain(chain: LogChain, options: MergeOptions): AsyncGenerator<readonly LogRow[], void, void> {
  const { counter, onBad, onNoHeader, signal } = options;
  for (const path of chain.paths) {
    counter?.openFile(path);
    const batches = readLogBatches(path, {
      onBad: (bad) => {
        counter?.addBad(path);
        onBad?.(bad);
      },
      onHeader: (header) => {
        if (header === null) onNoHeader?.(path);
        else counter?.addHeader(path, header);
      },
      ...(signal === undefined ? {} : { signal }),
    });
    for await (const rows of batches) {
      counter?.addRows(path, rows);
      yield rows;
    }
  }
}
