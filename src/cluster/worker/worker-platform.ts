import { GRPC_TRANSPORT, type Transport } from "../../net/index.ts";
import { collectCapabilities } from "./capabilities.ts";
import { type HostHandle, HostProcess } from "./host-process.ts";
import { claimNodeIdentity } from "./node-identity.ts";

/** What a worker takes from the machine that it runs on. */
export interface WorkerPlatform {
  readonly transport: Pick<Transport, "createClient">;
  readonly createHost: (onObservation: (message: Uint8Array) => void) => HostHandle;
  readonly collectCapabilities: typeof collectCapabilities;
  readonly claimNodeIdentity: typeof claimNodeIdentity;
}

export const THIS_MACHINE: WorkerPlatform = {
  transport: GRPC_TRANSPORT,
  createHost: (onObservation) => new HostProcess(onObservation),
  collectCapabilities,
  claimNodeIdentity,
};
