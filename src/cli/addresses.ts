import { NoodleError } from "../common/index.ts";
import { DEFAULT_GRPC_PORT } from "../protocol/index.ts";
import { parseInteger } from "./quantities.ts";

export const LOOPBACK = "127.0.0.1";

export interface HostPort {
  readonly host: string;
  readonly port: number;
}

/** Reads `host:port`, `[::1]:port` or a host alone (then the default gRPC port). @throws USAGE naming `option` */
export function parseHostPort(text: string, option: string, defaultPort = DEFAULT_GRPC_PORT): HostPort {
  const match = /^(\[[0-9a-f:.]+\]|[^\s:[\]]+)(?::(\d+))?$/i.exec(text.trim());
  const host = match?.[1];
  if (host === undefined) throw new NoodleError("USAGE", `${option} "${text}" is not HOST:PORT`);
  const port = match?.[2] === undefined ? defaultPort : parsePort(match[2], `${option}: the port`);
  return { host: host.replace(/^\[|\]$/g, ""), port };
}

/** `host:port`, with brackets around an IPv6 address. */
export function formatHostPort(address: HostPort): string {
  return address.host.includes(":") ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`;
}

/** Reads a port; 0 = any free one. @throws USAGE naming `option` */
export function parsePort(text: string, option: string): number {
  return parseInteger(text, option, 0, 65_535);
}
