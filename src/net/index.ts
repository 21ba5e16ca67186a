export {
  type ClientOptions,
  createClient,
  type ServiceClient,
  type StreamOptions,
  type UnaryOptions,
} from "./client.ts";
export { bindService, type CallContext, type Handlers, type ServiceBinding } from "./handlers.ts";
export type { ClientSecurity, ServerSecurity } from "./security.ts";
export { createServer, type NoodleServer, type ServerOptions } from "./server.ts";
export type { BidiStream, StreamListener } from "./stream.ts";
export { GRPC_TRANSPORT, type Transport } from "./transport.ts";
