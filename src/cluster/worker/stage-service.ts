import { bindService, GRPC_TRANSPORT, type ServiceBinding, type Transport } from "../../net/index.ts";
import { StageService } from "../../protocol/index.ts";
import type { Credentials } from "../../security/index.ts";
import type { HopConnection } from "./next-hop.ts";
import type { StageHost } from "./stage-host.ts";

export function bindStageService(host: StageHost): ServiceBinding {
  return bindService(StageService, {
    createSession: (request) => host.createSession(request),
    executeForward: (stream, { identity }) => host.executeForward(stream, identity),
    closeSession: (request) => host.closeSession(request),
    ping: (request) => host.ping(request),
    reportCapabilities: () => host.reportCapabilities(),
    readKv: (request) => host.readKv(request),
  });
}

/**
 * A connection of its own for the steps of a hop: nothing else queues before them.
 *
 * @param nodeId that must answer there
 * @param readCredentials undefined = plaintext, and whoever answers is believed
 */
export async function connectHop(
  address: string,
  signal: AbortSignal,
  nodeId = "",
  readCredentials?: () => Credentials,
  { createClient }: Pick<Transport, "createClient"> = GRPC_TRANSPORT,
): Promise<HopConnection> {
  const security =
    readCredentials === undefined
      ? undefined
      : { credentials: readCredentials, peer: { role: "node", nodeId } as const };
  const client = createClient(StageService, address, { security });
  try {
    await client.connect(signal);
    return { stream: await client.rpc.executeForward(), close: () => client.close() };
  } catch (error) {
    client.close();
    throw error;
  }
}
