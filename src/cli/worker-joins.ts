import { freemem } from "node:os";
import { NoodleError, sum } from "../common/index.ts";
import { formatHostPort, parseHostPort } from "./addresses.ts";
import { RemoteCluster } from "./remote-cluster.ts";

/** One coordinator that a worker joins, and what it may use for its model. */
export interface WorkerJoin {
  /** host:port */
  readonly address: string;
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
  const addresses = joins.map((text) => formatHostPort(parseHostPort(text, "--join")));
  const twice = addresses.find((address, index) => addresses.indexOf(address) !== index);
  if (twice !== undefined) throw new NoodleError("USAGE", `--join ${twice} is given twice`);
  const [first] = addresses;
  if (first !== undefined && addresses.length === 1) return [{ address: first, memoryBytes: memoryBytes ?? null }];
  const sizes = await Promise.all(addresses.map((address) => readModelBytes(address, signal)));
  const weights = sizes.every((size) => size > 0) ? sizes : sizes.map(() => 1);
  const total = sum(weights);
  const bytes = memoryBytes ?? freemem();
  return addresses.map((address, index) => ({
    address,
    memoryBytes: Math.floor((bytes * (weights[index] ?? 0)) / total),
  }));
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
