import { NoodleError } from "../../src/common/index.ts";
import type { CoordinatorState } from "../../src/store/index.ts";
import type { SimProcess } from "./virtual-time.ts";
import type { World } from "./world.ts";

export interface DiskSession {
  readonly term: number;
  readonly promptTokens: number;
  readonly tokens: number[];
  isClosed: boolean;
}

/** What a coordinator's directory holds, over its restarts. */
export class SimDisk {
  term = 0;
  /** Epochs of committed plans. */
  readonly plans = new Map<number, string>();
  holders = new Map<string, string>();
  readonly sessions = new Map<string, DiskSession>();
  onCommit: (epoch: number) => void = () => undefined;
}

const WRITE_MS = 0.5;

/**
 * The durable state in memory, for simulations in which the store itself is not looked at: terms as the real one, each
 * write of the journal a little later.
 */
export function openSimState(world: World, disk: SimDisk, process: SimProcess): CoordinatorState {
  disk.term += 1;
  const { term } = disk;
  const requireTerm = (): void => {
    if (disk.term !== term) throw new NoodleError("STATE_TAKEN", `the state was taken by term ${disk.term}`);
  };
  const write = (work: () => void): Promise<void> =>
    new Promise((resolve, reject) => {
      world.time.schedule(WRITE_MS, process, () => {
        try {
          requireTerm();
          work();
          resolve();
        } catch (error) {
          reject(NoodleError.from(error));
        }
      });
    });
  const state = {
    term,
    requireTerm,
    readHolders: () => disk.holders,
    commitPlan: ({ epoch, stages }: { epoch: number; stages: readonly { units: string; nodeId: string | null }[] }) => {
      requireTerm();
      disk.onCommit(epoch);
      disk.plans.set(epoch, stages.map(({ units, nodeId }) => `${units}@${nodeId}`).join(","));
      disk.holders = new Map(stages.flatMap(({ units, nodeId }) => (nodeId === null ? [] : [[units, nodeId]])));
    },
    recordEvent: ({ name, message }: { name: string; message: string }) => world.note(`event ${name}: ${message}`),
    journal: {
      openSession: ({ sessionId, promptTokenIds }: { sessionId: string; promptTokenIds: readonly number[] }) =>
        write(() => {
          disk.sessions.set(sessionId, { term, promptTokens: promptTokenIds.length, tokens: [], isClosed: false });
        }),
      appendTokens: (sessionId: string, fromPosition: number, tokens: readonly number[]) =>
        write(() => {
          const session = disk.sessions.get(sessionId);
          if (session === undefined) throw new NoodleError("SESSION_NOT_FOUND", `no session ${sessionId}`);
          if (fromPosition !== session.promptTokens + session.tokens.length)
            throw new NoodleError("STEP_OUT_OF_ORDER", `token for ${fromPosition}`);
          session.tokens.push(...tokens);
        }),
      closeSession: (sessionId: string) =>
        write(() => {
          const session = disk.sessions.get(sessionId);
          if (session !== undefined) session.isClosed = true;
        }),
    },
    close: async () => undefined,
  };
  return state as unknown as CoordinatorState;
}
