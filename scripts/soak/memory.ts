import { readdirSync, readFileSync } from "node:fs";
import { median } from "../../src/common/index.ts";

export interface ProcessFigures {
  readonly role: string;
  readonly pid: number;
  /** How long it was watched, without its first moments. */
  readonly minutes: number;
  readonly first_mib: number;
  readonly last_mib: number;
  readonly most_mib: number;
  readonly slope_mib_per_hour: number;
  /** Median of the last third of the time less that of the first third: what collecting garbage does falls out. */
  readonly growth_mib: number;
  readonly first_handles: number;
  readonly last_handles: number;
}

interface Sample {
  readonly atMs: number;
  readonly rssMib: number;
  readonly handles: number;
}

/** Until then a process fills what it is allowed to keep: events of streams that have ended stay for 5 minutes. */
const WARM_UP_MS = 360_000;
const LEAST_SAMPLES = 10;

/** Resident memory and open files of processes along the soak, by role and process. */
export class MemoryWatch {
  readonly #samples = new Map<number, { readonly role: string; readonly samples: Sample[] }>();

  look(role: string, pid: number): void {
    const sample = readProcess(pid);
    if (sample === null) return;
    const known = this.#samples.get(pid);
    if (known === undefined) this.#samples.set(pid, { role, samples: [sample] });
    else known.samples.push(sample);
  }

  /** For each role the process that was watched longest; those that were seen for moments only are left out. */
  summarize(): readonly ProcessFigures[] {
    const figures = [...this.#samples].flatMap(([pid, { role, samples }]) => {
      const beginMs = samples[0]?.atMs ?? 0;
      const startMs = beginMs + Math.min(WARM_UP_MS, ((samples.at(-1)?.atMs ?? 0) - beginMs) / 2);
      const settled = samples.filter(({ atMs }) => atMs >= startMs);
      const [first, last] = [settled[0], settled.at(-1)];
      if (settled.length < LEAST_SAMPLES || first === undefined || last === undefined) return [];
      return [
        {
          role,
          pid,
          minutes: (last.atMs - first.atMs) / 60_000,
          first_mib: first.rssMib,
          last_mib: last.rssMib,
          most_mib: Math.max(...settled.map(({ rssMib }) => rssMib)),
          slope_mib_per_hour: fitSlope(settled) * 3_600_000,
          growth_mib: compareThirds(settled),
          first_handles: first.handles,
          last_handles: last.handles,
        },
      ];
    });
    const roles = new Set(figures.map(({ role }) => role));
    return [...roles].sort().flatMap((role) => {
      const own = figures.filter((figure) => figure.role === role);
      return own.sort((a, b) => b.minutes - a.minutes).slice(0, 1);
    });
  }
}

function compareThirds(samples: readonly Sample[]): number {
  const size = Math.ceil(samples.length / 3);
  const middle = (part: readonly Sample[]): number => median(part.map(({ rssMib }) => rssMib));
  return middle(samples.slice(-size)) - middle(samples.slice(0, size));
}

/** Least squares, in MiB per ms. */
export function fitSlope(samples: readonly Sample[]): number {
  const meanMs = samples.reduce((sum, { atMs }) => sum + atMs, 0) / samples.length;
  const meanMib = samples.reduce((sum, { rssMib }) => sum + rssMib, 0) / samples.length;
  const up = samples.reduce((sum, { atMs, rssMib }) => sum + (atMs - meanMs) * (rssMib - meanMib), 0);
  const down = samples.reduce((sum, { atMs }) => sum + (atMs - meanMs) ** 2, 0);
  return down === 0 ? 0 : up / down;
}

function readProcess(pid: number): Sample | null {
  try {
    const pages = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
    const handles = readdirSync(`/proc/${pid}/fd`).length;
    return pages === undefined ? null : { atMs: performance.now(), rssMib: Number(pages) / 1024, handles };
  } catch {
    // It has ended.
    return null;
  }
}
