import { bindService, createClient, type ServiceBinding } from "../../net/index.ts";
import { StageService } from "../../protocol/index.ts";
import type { HopConnection } from "./next-hop.ts";
import type { StageHost } from "./stage-host.ts";

export function bindStageService(host: StageHost): ServiceBinding {
  return bindService(StageService, {
    createSession: (request) => host.createSession(request),
    executeForward: (stream) => host.executeForward(stream),
    closeSession: (request) => host.closeSession(request),
    ping: (request) => host.ping(request),
    reportCapabilities: () => host.reportCapabilities(),
    readKv: (request) => host.readKv(request),
  });
}

/** A connection of its own for the steps of a hop: nothing else queues before them. */
export async function connectHop(address: string, signal: AbortSignal): Promise<HopConnection> {
  const client = createClient(StageService, address);
  try {
    await client.connect(signal);
    return { stream: await client.rpc.executeForward(), close: () => client.close() };
  } catch (error) {
    client.close();
    throw error;
  }
}
