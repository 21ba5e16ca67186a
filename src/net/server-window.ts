import { EventEmitter } from "node:events";
import type { ServerHttp2Session } from "node:http2";
import type { Server } from "@grpc/grpc-js";
import { NoodleError } from "../common/index.ts";

/*
 * The library lets a client choose its flow-control window and a server not (1.14.7): a server's senders would get
 * HTTP/2's 64 KiB. The two functions here reach for the fields that its HTTP/2 server is made from. They fail loudly if
 * a new release moves them, and a test reads the window that a client is really offered.
 */

/** Sets each stream's window. Call it before the library makes its HTTP/2 server. */
export function setStreamWindow(server: Server, windowBytes: number): void {
  const options: unknown = Reflect.get(server, "commonServerOptions");
  if (typeof options !== "object" || options === null) throw moved("commonServerOptions");
  const settings = Reflect.get(options, "settings") as object | undefined;
  Reflect.set(options, "settings", { ...settings, initialWindowSize: windowBytes });
}

/** Sets each connection's window. Call it after the library has made its HTTP/2 server. */
export function setConnectionWindow(server: Server, windowBytes: number): void {
  const servers: unknown = Reflect.get(server, "http2Servers");
  if (!(servers instanceof Map) || servers.size === 0) throw moved("http2Servers");
  for (const http2Server of servers.keys()) {
    if (!(http2Server instanceof EventEmitter)) throw moved("http2Servers");
    http2Server.on("session", (session: ServerHttp2Session) => session.setLocalWindowSize(windowBytes));
  }
}

function moved(field: string): NoodleError {
  return new NoodleError("INTERNAL", `@grpc/grpc-js has no ${field} any more: this release of it is not supported`);
}
