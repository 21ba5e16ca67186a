/**
 * Entry of the stage host, a child of the worker's supervisor: the network on this thread, the engine on another. Told
 * what to do over IPC; ends when its parent does.
 */
import { fromBinary } from "@bufbuild/protobuf";
import { must, NoodleError } from "../../common/index.ts";
import { createServer, type NoodleServer } from "../../net/index.ts";
import { CapabilitiesSchema } from "../../protocol/index.ts";
import type { Credentials } from "../../security/index.ts";
import { secureStage } from "./access.ts";
import type { HostCommand, HostEvent, HostSecurity, HostStart } from "./host-messages.ts";
import { Lane } from "./lane.ts";
import { ObservationSender } from "./observation-sender.ts";
import { StageHost } from "./stage-host.ts";
import { bindStageService, connectHop } from "./stage-service.ts";
import { StageThread } from "./stage-thread.ts";

const STATS_MS = 500;
const GRACE_MS = 300;

let host: StageHost | undefined;
let server: NoodleServer | undefined;
/** undefined = plaintext. */
let security: HostSecurity | undefined;
const commands = new Lane();
const observations = new ObservationSender((message, onSent) => {
  if (process.connected) process.send?.({ type: "observation", message } satisfies HostEvent, undefined, {}, onSent);
});

// A parent that is gone cannot restart or stop this process. An exit would wait for the engine thread, which may be
// deep in a computation.
process.on("disconnect", () => process.kill(process.pid, "SIGKILL"));
// Ctrl-C in a terminal goes to the whole group; the supervisor decides what follows from it.
process.on("SIGINT", () => undefined);
process.on("message", (command: HostCommand) => {
  commands
    .run(() => obey(command))
    .catch((error: unknown) => {
      throw error;
    });
});
if (!process.connected) process.exit(1);

async function obey(command: HostCommand): Promise<void> {
  switch (command.type) {
    case "start":
      return await start(command);
    case "capabilities":
      return host?.setCapabilities(fromBinary(CapabilitiesSchema, command.bytes));
    case "load":
      try {
        if (command.assignment.beside !== true) server?.setServing(false);
        if (host === undefined) throw new NoodleError("ILLEGAL_STATE", "load before start");
        tell({ type: "loaded", ...(await host.load(command.assignment)) });
        server?.setServing(true);
      } catch (error) {
        tell({ type: "loadFailed", epoch: command.assignment.epoch, error: NoodleError.from(error).toJSON() });
      }
      return;
    case "security":
      security = command.security;
      server?.renew(security.credentials);
      server?.cutOff((peer) => peer.role === "node" && isRevoked(peer.nodeId));
      return;
    case "retire":
      await host?.retire(command.epoch);
      if (host?.epoch === 0) server?.setServing(false);
      return;
    case "shutdown":
      await server?.close(GRACE_MS);
      await host?.close();
      process.removeAllListeners("disconnect");
      process.disconnect();
      return;
  }
}

async function start(command: HostStart): Promise<void> {
  try {
    const engine = new StageThread();
    const identity = await engine.start(command.engine);
    host = new StageHost({
      nodeId: command.nodeId,
      engine,
      startEngine: async () => {
        const another = new StageThread();
        await another.start(command.engine);
        return another;
      },
      connectHop: (address, signal, nodeId) => connectHop(address, signal, nodeId, security && readCredentials),
      nowMs: () => performance.now(),
      random: Math.random,
      onObservation: (observation) => observations.push(observation),
    });
    const services = [bindStageService(host)];
    const { listenHost, listenPort, nodeId } = command;
    security = command.security;
    server = createServer({
      services,
      host: listenHost,
      port: listenPort,
      portOption: "--listen",
      nodeId,
      security: security && secureStage(security.credentials, isRevoked),
    });
    const port = await server.start();
    server.setServing(false);
    const { pid } = process;
    const running = host;
    const startedMs = performance.now();
    setInterval(() => {
      running.expireSessions().catch((error: unknown) => {
        throw error;
      });
      const { epoch, sessions, totals, engineNs } = running;
      const rssBytes = process.memoryUsage.rss();
      const busy = { busyNs: engineNs, wallNs: (performance.now() - startedMs) * 1e6 };
      tell({
        type: "stats",
        epoch,
        sessions,
        rssBytes,
        observationsDropped: observations.dropped,
        totals,
        engine: busy,
      });
    }, STATS_MS).unref();
    tell({ type: "listening", port, pid, engine: identity });
  } catch (error) {
    tell({ type: "startFailed", error: NoodleError.from(error).toJSON() });
  }
}

function isRevoked(nodeId: string): boolean {
  return security?.revoked.includes(nodeId) === true;
}

function readCredentials(): Credentials {
  return must(security, "this worker's certificate").credentials;
}

function tell(event: HostEvent): void {
  if (process.connected) process.send?.(event);
}
