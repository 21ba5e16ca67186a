import { freemem } from "node:os";
import { NoodleError, sum } from "../common/index.ts";
import { type JoinToken, readJoinToken } from "../security/index.ts";
import { formatHostPort, parseHostPort } from "./addresses.ts";
import { RemoteCluster } from "./remote-cluster.ts";

/** One coordinator that a worker joins, and what it may use for its model. */
export interface WorkerJoin {
  /** host:port */
  readonly address: string;
  /** null = a cluster in plaintext. */
  readonly token: JoinToken | null;
  /** null = what is free when it starts. */
  readonly memoryBytes: number | null;
}

/**
 * What a machine gives to each of the coordinators that it joins: parts by the bytes of their models, where all of them
 * can be asked, and otherwise equal ones. One coordinator alone gets all.
 *
 * @throws NoodleError `USAGE` for an address that is none, or comes twice
 */
export async function shareJoins(
  joins: readonly string[],
  memoryBytes: number | undefined,
  signal: AbortSignal,
): Promise<readonly WorkerJoin[]> {
  const targets = joins.map(readTarget);
  const addresses = targets.map(({ address }) => address);
  const twice = addresses.find((address, index) => addresses.indexOf(address) !== index);
  if (twice !== undefined) throw new NoodleError("USAGE", `--join ${twice} is given twice`);
  const [first] = targets;
  if (first !== undefined && targets.length === 1) return [{ ...first, memoryBytes: memoryBytes ?? null }];
  // A coordinator with an authority tells its members' operators alone: then the parts are equal.
  const sizes = await Promise.all(
    targets.map(async ({ address, token }) => (token === null ? await readModelBytes(address, signal) : 0)),
  );
  const weights = sizes.every((size) => size > 0) ? sizes : sizes.map(() => 1);
  const total = sum(weights);
  const bytes = memoryBytes ?? freemem();
  return targets.map((target, index) => ({
    ...target,
    memoryBytes: Math.floor((bytes * (weights[index] ?? 0)) / total),
  }));
}

/** Reads `HOST:PORT` or `TOKEN@HOST:PORT`. @throws NoodleError `USAGE`, `JOIN_TOKEN_INVALID` */
function readTarget(text: string): Pick<WorkerJoin, "address" | "token"> {
  const at = text.lastIndexOf("@");
  const token = at < 0 ? null : readJoinToken(text.slice(0, at));
  return { address: formatHostPort(parseHostPort(text.slice(at + 1), "--join")), token };
}

/** 0 where nobody answers: a worker may be there before its coordinator. */
async function readModelBytes(address: string, signal: AbortSignal): Promise<number> {
  const cluster = new RemoteCluster(address);
  try {
    return (await cluster.status(signal)).coordinator.model.bytes;
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof NoodleError) return 0;
    throw error;
  } finally {
    cluster.close();
  }
}
