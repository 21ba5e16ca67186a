import { createClient } from "./client.ts";
import { createServer } from "./server.ts";

/** How processes reach each other. */
export interface Transport {
  readonly createClient: typeof createClient;
  readonly createServer: typeof createServer;
}

export const GRPC_TRANSPORT: Transport = { createClient, createServer };
