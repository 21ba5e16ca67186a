import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { X509Certificate } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { NoodleError } from "../common/index.ts";
import { ApiKeys, checkExposure, ClusterFolder, Membership, readJoinToken } from "./index.ts";
import { NodeFolder } from "./node-folder.ts";
import { hashCertificate, hashSecret } from "./join-token.ts";

const HOUR_MS = 3600_000;
const NOW_MS = Date.now();
const NODE = "n-00000000000a";
let root = "";
let folder: ClusterFolder;
let membership: Membership;

beforeAll(async () => {
  root = mkdtempSync(join(tmpdir(), "noodle-security-"));
  folder = await ClusterFolder.init(join(root, "cluster"), NOW_MS);
  membership = new Membership(folder);
});
afterAll(() => rmSync(root, { recursive: true, force: true }));

async function makeRequest(name: string): Promise<Uint8Array> {
  const node = new NodeFolder(join(root, name), NODE, hashCertificate(folder.authorityPem));
  return (await node.makeRequest()).request;
}

async function codeOf(run: Promise<unknown> | (() => unknown)): Promise<string> {
  try {
    await (typeof run === "function" ? run() : run);
  } catch (error) {
    return NoodleError.from(error).code;
  }
  return "none";
}

function enroll(token: string, request: Uint8Array, nodeId = NODE, nowMs = NOW_MS): Promise<string> {
  const { id: tokenId, secret } = readJoinToken(token);
  return membership.enroll({ nodeId, name: "tester", request, tokenId, secret }, null, nowMs);
}

describe("a join token", () => {
  it("lets one node in, once, also when two come with it together", async () => {
    const token = membership.makeToken(HOUR_MS, NOW_MS);
    const request = await makeRequest("one");
    const outcomes = await Promise.all([codeOf(enroll(token, request)), codeOf(enroll(token, request))]);
    expect(outcomes.toSorted()).toEqual(["JOIN_TOKEN_INVALID", "none"]);
    expect(await codeOf(enroll(token, request))).toBe("JOIN_TOKEN_INVALID");
    expect(membership.list().map(({ nodeId, revoked }) => [nodeId, revoked])).toEqual([[NODE, false]]);
  });

  it("ends with its time, and is not known when any part of it is changed", async () => {
    const token = membership.makeToken(HOUR_MS, NOW_MS);
    const request = await makeRequest("one");
    expect(await codeOf(enroll(token, request, NODE, NOW_MS + HOUR_MS))).toBe("JOIN_TOKEN_INVALID");
    const { authoritySha256, id, secret } = readJoinToken(token);
    const other = secret.startsWith("A") ? `B${secret.slice(1)}` : `A${secret.slice(1)}`;
    expect(await codeOf(enroll(`noodle1.${authoritySha256}.${id}.${other}`, request))).toBe("JOIN_TOKEN_INVALID");
    expect(await codeOf(enroll(`noodle1.${authoritySha256}.0000000000000000.${secret}`, request))).toBe(
      "JOIN_TOKEN_INVALID",
    );
    for (const text of ["", token.slice(1), `${token}x`, token.replace("noodle1", "noodle2")]) {
      expect(await codeOf(() => readJoinToken(text))).toBe("JOIN_TOKEN_INVALID");
    }
    expect(await codeOf(enroll(token, request))).toBe("none");
  });

  it("is kept as a hash, in a file that its owner alone reads", () => {
    const { id, secret } = readJoinToken(membership.makeToken(HOUR_MS, NOW_MS));
    const path = join(folder.path, "tokens", `${id}.json`);
    expect(readFileSync(path, "utf8")).not.toContain(secret);
    expect(readFileSync(path, "utf8")).toContain(hashSecret(secret));
    expect(statSync(path).mode & 0o077).toBe(0);
  });
});

describe("a node", () => {
  it("gets a certificate of the authority that says its id and nothing else", async () => {
    const pem = await enroll(membership.makeToken(HOUR_MS, NOW_MS), await makeRequest("one"));
    const certificate = new X509Certificate(pem);
    const authority = new X509Certificate(folder.authorityPem);
    expect(certificate.subjectAltName).toBe(`URI:noodle:node:${NODE}`);
    expect(certificate.ca).toBe(false);
    expect(certificate.verify(authority.publicKey)).toBe(true);
  });

  it("is one key: another one with its id is refused, and so is a request that its key has not signed", async () => {
    const token = membership.makeToken(HOUR_MS, NOW_MS);
    expect(await codeOf(enroll(token, await makeRequest("two")))).toBe("ACCESS_DENIED");
    const forged = Uint8Array.from(await makeRequest("one"));
    forged[forged.length - 1] = (forged.at(-1) ?? 0) ^ 1;
    expect(await codeOf(enroll(token, forged))).toBe("REQUEST_INVALID");
    expect(await codeOf(enroll(token, new Uint8Array(5000)))).toBe("REQUEST_INVALID");
    expect(await codeOf(enroll(token, await makeRequest("one"), "../../etc"))).toBe("REQUEST_INVALID");
  });

  it("renews with its certificate in place of a token, and for itself alone", async () => {
    const asked = { nodeId: NODE, name: "tester", request: await makeRequest("one"), tokenId: "", secret: "" };
    const peer = { role: "node", nodeId: NODE } as const;
    expect(await codeOf(membership.enroll(asked, peer, NOW_MS))).toBe("none");
    const other = { role: "node", nodeId: "n-00000000000b" } as const;
    expect(await codeOf(membership.enroll(asked, other, NOW_MS))).toBe("JOIN_TOKEN_INVALID");
  });

  it("that was shut out gets no certificate any more, with whatever token", async () => {
    expect(membership.revoke("tester", NOW_MS)).toBe(NODE);
    expect(membership.revoked()).toEqual([NODE]);
    const token = membership.makeToken(HOUR_MS, NOW_MS);
    expect(await codeOf(enroll(token, await makeRequest("one")))).toBe("ACCESS_DENIED");
    expect(await codeOf(() => membership.revoke("nobody", NOW_MS))).toBe("USAGE");
  });
});

describe("a cluster's folder", () => {
  it("is not made over another one, and its keys must be their owner's alone", async () => {
    expect(await codeOf(ClusterFolder.init(folder.path, NOW_MS))).toBe("USAGE");
    const key = join(folder.path, "operator-key.pem");
    chmodSync(key, 0o644);
    expect(await codeOf(() => folder.openOperator())).toBe("SECURITY_FILE_INVALID");
    chmodSync(key, 0o600);
    expect(folder.openOperator().certificatePem).toContain("BEGIN CERTIFICATE");
  });

  it("renews the coordinator's certificate when half of its time is over", async () => {
    const before = await folder.openCoordinator(NOW_MS);
    expect((await folder.openCoordinator(NOW_MS)).certificatePem).toBe(before.certificatePem);
    const later = await folder.openCoordinator(NOW_MS + 200 * 24 * HOUR_MS);
    expect(later.certificatePem).not.toBe(before.certificatePem);
  });

  it("names a damaged record instead of passing over it", async () => {
    const keys = new ApiKeys(join(root, "damaged"));
    const { id } = keys.add("laptop", NOW_MS);
    writeFileSync(join(root, "damaged", "keys", `${id}.json`), "{}");
    expect(await codeOf(() => keys.hashes())).toBe("SECURITY_FILE_INVALID");
  });
});

describe("keys of the API", () => {
  it("are kept as hashes until they are taken back", async () => {
    const keys = new ApiKeys(join(root, "keys-of-one"));
    const one = keys.add("laptop", NOW_MS);
    const two = keys.add("phone", NOW_MS);
    expect(one.key).not.toBe(two.key);
    expect(keys.hashes().toSorted()).toEqual([hashSecret(one.key), hashSecret(two.key)].toSorted());
    expect(readFileSync(join(root, "keys-of-one", "keys", `${one.id}.json`), "utf8")).not.toContain(one.key);
    keys.revoke(one.id);
    expect(keys.list().map(({ name }) => name)).toEqual(["phone"]);
    expect(await codeOf(() => keys.revoke("../../x"))).toBe("USAGE");
  });
});

describe("listening", () => {
  const open = { option: "--host", what: "the API", isProtected: false, cure: "protect it", isTrusted: false };
  it.each(["127.0.0.1", "127.8.9.1", "localhost", "::1", "[::1]"])("on %s needs no protection", (host) => {
    expect(checkExposure({ ...open, host })).toBeNull();
  });

  it.each(["0.0.0.0", "::", "10.0.0.5", "cluster.test", "127.0.0.1.evil.test"])("on %s needs it", async (host) => {
    expect(await codeOf(() => checkExposure({ ...open, host }))).toBe("EXPOSURE_REFUSED");
    expect(checkExposure({ ...open, host, isProtected: true })).toBeNull();
    expect(checkExposure({ ...open, host, isTrusted: true })).toContain("--insecure-trusted-network");
  });
});
