import { createPublicKey } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { NoodleError } from "../common/index.ts";
import { PROTOCOL_VERSION, StageService } from "../protocol/index.ts";
import { ClusterFolder, type Credentials, makeKey, type PeerIdentity, writeIdentity } from "../security/index.ts";
import { bindService, createClient, createServer, type NoodleServer, type ServiceClient } from "./index.ts";

const NODE: PeerIdentity = { role: "node", nodeId: "n-00000000000a" };
const OTHER: PeerIdentity = { role: "node", nodeId: "n-00000000000b" };
const CALL = { timeoutMs: 5000 };
const cleanups: (() => unknown)[] = [];
let root = "";
let ours: ClusterFolder;
let theirs: ClusterFolder;

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), "noodle-net-"));
  [ours, theirs] = await Promise.all([
    ClusterFolder.init(join(root, "ours"), Date.now()),
    ClusterFolder.init(join(root, "theirs"), Date.now()),
  ]);
});
afterAll(() => rmSync(root, { recursive: true, force: true }));
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function issue(folder: ClusterFolder, identity: PeerIdentity, days = 1): Promise<Credentials> {
  const { privateKeyPem } = makeKey();
  const publicKey = createPublicKey(privateKeyPem).export({ type: "spki", format: "der" });
  const subject = { commonName: "test", uris: [writeIdentity(identity)] };
  // One that has ended was made some days ago.
  const nowMs = days < 0 ? Date.now() + 2 * days * 24 * 3600_000 : Date.now();
  const certificatePem = await folder.issue(publicKey, subject, nowMs, Math.abs(days));
  return { authorityPem: folder.authorityPem, certificatePem, privateKeyPem };
}

interface Setting {
  readonly credentials?: Credentials;
  readonly allowStrangers?: boolean;
}

async function serve(setting: Setting = {}): Promise<{ server: NoodleServer; address: string }> {
  const unused = (): never => {
    throw new NoodleError("ILLEGAL_STATE", "not here");
  };
  const server = createServer({
    port: 0,
    services: [
      bindService(StageService, {
        ping: (_request, { identity }) => ({ nodeId: identity === null ? "" : writeIdentity(identity) }),
        createSession: unused,
        closeSession: unused,
        reportCapabilities: unused,
        readKv: unused,
        executeForward: (stream) =>
          stream.listen({ onMessage: () => {}, onEnd: () => stream.end(), onError: () => {} }),
      }),
    ],
    security: {
      credentials: setting.credentials ?? (await issue(ours, NODE)),
      ...(setting.allowStrangers === undefined ? {} : { allowStrangers: setting.allowStrangers }),
      authorize: (peer) =>
        peer === null || peer.role === "operator" ? new NoodleError("ACCESS_DENIED", "not for you") : null,
    },
  });
  const address = `127.0.0.1:${await server.start()}`;
  cleanups.push(() => server.close(0));
  return { server, address };
}

function call(
  address: string,
  credentials: Credentials | null,
  change: { readonly peer?: PeerIdentity; readonly isStranger?: boolean } = {},
): ServiceClient<typeof StageService> {
  const security = credentials === null ? undefined : { credentials: () => credentials, peer: NODE, ...change };
  const client = createClient(StageService, address, { security });
  cleanups.push(() => client.close());
  return client;
}

async function codeOf(run: Promise<unknown>): Promise<string> {
  return run.then(
    () => "none",
    (error: unknown) => NoodleError.from(error).code,
  );
}

describe("a connection with certificates", () => {
  it("tells each side who the other is", async () => {
    const { address } = await serve();
    const client = call(address, await issue(ours, OTHER));
    expect((await client.rpc.ping({}, CALL)).nodeId).toBe("noodle:node:n-00000000000b");
  });

  it("is refused to a member that may not call, with that as the reason, for every kind of call", async () => {
    const { address } = await serve();
    const client = call(address, ours.openOperator());
    expect(await codeOf(client.rpc.ping({}, CALL))).toBe("ACCESS_DENIED");
    const stream = await client.rpc.executeForward();
    const ended = new Promise<string>((resolve) => {
      stream.listen({ onMessage: () => {}, onEnd: () => resolve("none"), onError: ({ code }) => resolve(code) });
    });
    stream.send({ message: { case: "open", value: { epoch: 1n, protocolVersion: PROTOCOL_VERSION } } });
    expect(await ended).toBe("ACCESS_DENIED");
  });

  it.each([
    ["of another cluster", () => issue(theirs, OTHER)],
    ["that has ended", () => issue(ours, OTHER, -2)],
  ])("does not take a client's certificate %s", async (_what, make) => {
    const { address } = await serve();
    const credentials = { ...(await make()), authorityPem: ours.authorityPem };
    expect(await codeOf(call(address, credentials).rpc.ping({}, CALL))).toBe("PEER_UNTRUSTED");
  });

  it("does not take a client without a certificate, nor one in plaintext", async () => {
    const { address } = await serve();
    const credentials = await issue(ours, OTHER);
    expect(await codeOf(call(address, credentials, { isStranger: true }).rpc.ping({}, CALL))).toBe("PEER_UNTRUSTED");
    expect(await codeOf(call(address, null).rpc.ping({}, CALL))).toMatch(/^PEER_/);
  });

  it("lets strangers in where it is said, and tells them what they may not", async () => {
    const { address } = await serve({ allowStrangers: true });
    const credentials = await issue(ours, OTHER);
    expect(await codeOf(call(address, credentials, { isStranger: true }).rpc.ping({}, CALL))).toBe("ACCESS_DENIED");
    const foreign = { ...(await issue(theirs, OTHER)), authorityPem: ours.authorityPem };
    expect(await codeOf(call(address, foreign).rpc.ping({}, CALL))).toBe("ACCESS_DENIED");
    expect(await codeOf(call(address, credentials).rpc.ping({}, CALL))).toBe("none");
  });

  it.each([
    ["another node's", () => issue(ours, OTHER)],
    ["another cluster's", () => issue(theirs, NODE)],
    ["one that has ended", () => issue(ours, NODE, -2)],
  ])("is not made by a client to a server with a certificate that is %s", async (_what, make) => {
    const { address } = await serve({ credentials: await make() });
    expect(await codeOf(call(address, await issue(ours, OTHER)).rpc.ping({}, CALL))).toBe("PEER_UNTRUSTED");
  });

  it("ends at once when its member is shut out, and nobody else's does", async () => {
    const { server, address } = await serve();
    const [gone, stays] = [call(address, await issue(ours, OTHER)), call(address, await issue(ours, NODE))];
    const stream = await gone.rpc.executeForward();
    const ended = new Promise<string>((resolve) => {
      stream.listen({ onMessage: () => {}, onEnd: () => resolve("none"), onError: ({ code }) => resolve(code) });
    });
    await Promise.all([gone.rpc.ping({}, CALL), stays.rpc.ping({}, CALL)]);
    server.cutOff((peer) => peer.role === "node" && peer.nodeId === OTHER.nodeId);
    expect(await ended).toBe("PEER_DEAD");
    expect(await codeOf(stays.rpc.ping({}, CALL))).toBe("none");
  });

  it("meets a renewed certificate on the next connection", async () => {
    const { server, address } = await serve({ credentials: await issue(ours, NODE, -2) });
    server.renew(await issue(ours, NODE));
    expect(await codeOf(call(address, await issue(ours, OTHER)).rpc.ping({}, CALL))).toBe("none");
  });
});
