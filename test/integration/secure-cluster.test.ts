import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Coordinator } from "../../src/cluster/coordinator/index.ts";
import { createRangeFetcher } from "../../src/cluster/stage-files/fetch.ts";
import { WorkerMember, WorkerSupervisor } from "../../src/cluster/worker/index.ts";
import { NoodleError } from "../../src/common/index.ts";
import { type ClientSecurity, createClient } from "../../src/net/index.ts";
import { CoordinatorService, PROTOCOL_VERSION, StageService, StreamRole } from "../../src/protocol/index.ts";
import { ClusterFolder, Membership, readJoinToken, Roster } from "../../src/security/index.ts";
import { FAKE, fakeModel, fakeTokenizer } from "./fake-cluster.ts";

const HOUR_MS = 3600_000;
const CALL = { timeoutMs: 5000 };
const SECRET = "NOODLE_TEST_SECRET";
const never = new AbortController().signal;
const said: string[] = [];
const hostPids = new Set<number>();
let root = "";
let folder: ClusterFolder;
let membership: Membership;
let roster: Roster;
let coordinator: Coordinator;
const workers: { readonly supervisor: WorkerSupervisor; readonly member: WorkerMember; received: number }[] = [];

beforeAll(async () => {
  process.env[SECRET] = "do-not-pass-on";
  root = mkdtempSync(join(tmpdir(), "noodle-secure-"));
  folder = await ClusterFolder.init(join(root, "cluster"), Date.now());
  membership = new Membership(folder);
  roster = new Roster(membership, (error) => said.push(error.message), 20);
  const credentials = await folder.openCoordinator(Date.now());
  coordinator = await Coordinator.start({
    model: fakeModel(),
    tokenizer: fakeTokenizer(),
    expect: 2,
    dataDir: join(root, "coordinator"),
    grpcPort: 0,
    security: { credentials, membership, roster },
  });
  for (const name of ["alpha", "beta"]) await addWorker(name);
  await coordinator.waitReady(never, 30_000);
}, 60_000);
afterAll(async () => {
  for (const { supervisor } of workers) await supervisor.close("the test is over");
  await coordinator.close();
  roster[Symbol.dispose]();
  rmSync(root, { recursive: true, force: true });
  delete process.env[SECRET];
});

async function addWorker(name: string): Promise<void> {
  const dataDirectory = join(root, name);
  const token = readJoinToken(membership.makeToken(HOUR_MS, Date.now()));
  const member = new WorkerMember({ address: coordinator.address, token, dataDirectory, name });
  const fetchRanges = createRangeFetcher(coordinator.address, member.towardsCoordinator);
  const entry = { received: 0 };
  const supervisor = new WorkerSupervisor({
    join: coordinator.address,
    member,
    name,
    dataDirectory,
    threads: 1,
    engine: { kind: "fake" },
    noodlecoreVersion: "0.0.0",
    stageFiles: {
      prepare: async ({ units, model }, hooks) => {
        const ranges = [{ shard: 0, offset: 0, length: 100_000 }];
        for await (const { data } of fetchRanges(model.sourceSha256, ranges, hooks.signal))
          entry.received += data.length;
        const path = join(dataDirectory, "stage.json");
        await writeFile(path, JSON.stringify({ units, ...FAKE }));
        return { path, weightsBytes: 1000, receivedBytes: entry.received };
      },
    },
    onReport: ({ hostPid = 0 }) => {
      if (hostPid > 0) hostPids.add(hostPid);
    },
    onNotice: (text) => said.push(text),
  });
  workers.push(Object.assign(entry, { supervisor, member }));
  await supervisor.start();
}

function worker(name: string): (typeof workers)[number] {
  const id = coordinator.status().nodes.find((node) => node.name === name)?.id;
  const found = workers.find(({ supervisor }) => supervisor.nodeId === id);
  if (found === undefined) throw new Error(`no ${name}`);
  return found;
}

function asOperator(): ClientSecurity {
  const credentials = folder.openOperator();
  return { credentials: () => credentials, peer: { role: "coordinator" } };
}

async function codeOf(run: Promise<unknown>): Promise<string> {
  return run.then(
    () => "none",
    (error: unknown) => NoodleError.from(error).code,
  );
}

async function askStatus(security: ClientSecurity | undefined): Promise<string> {
  const client = createClient(CoordinatorService, coordinator.address, { security });
  try {
    return await codeOf(client.rpc.status({}, CALL));
  } finally {
    client.close();
  }
}

/** What the second stage says to whoever opens a stream of steps to it. */
async function openSteps(from: WorkerMember | null, fromNode: string): Promise<string> {
  const target = workerOfStage(1);
  const peer = { role: "node", nodeId: target.supervisor.nodeId } as const;
  const security = from === null ? undefined : { credentials: () => from.current, peer };
  const client = createClient(StageService, target.supervisor.stageAddress, { security });
  try {
    const stream = await client.rpc.executeForward();
    return await new Promise<string>((resolve) => {
      stream.listen({
        onMessage: ({ message }) => resolve(message.case ?? "none"),
        onEnd: () => resolve("end"),
        onError: ({ code }) => resolve(code),
      });
      const epoch = BigInt(coordinator.epoch);
      const open = { epoch, role: StreamRole.STEPS, fromNode, protocolVersion: PROTOCOL_VERSION };
      stream.send({ message: { case: "open", value: open } });
    });
  } catch (error) {
    return NoodleError.from(error).code;
  } finally {
    client.close();
  }
}

function workerOfStage(stage: number): (typeof workers)[number] {
  const holders = coordinator.status().nodes.filter(({ units }) => units !== null);
  const sorted = holders.toSorted((a, b) => Number.parseInt(a.units ?? "", 10) - Number.parseInt(b.units ?? "", 10));
  return worker(sorted[stage]?.name ?? "");
}

describe("a cluster with an authority", () => {
  it("serves over certificates on every hop, and says nothing of a prompt", async () => {
    let tokens = 0;
    const request = { prompt: "canary-prompt-7d1f", maxTokens: 5 };
    for await (const event of coordinator.generate(request, never)) if (event.type === "token") tokens += 1;
    expect(tokens).toBe(5);
    expect(workers.map(({ received }) => received)).toEqual([100_000, 100_000]);
    expect(
      membership
        .list()
        .map(({ name }) => name)
        .toSorted(),
    ).toEqual(["alpha", "beta"]);
    expect(said.join("\n")).not.toContain("canary-prompt");
    expect(JSON.stringify(coordinator.status())).not.toContain("canary-prompt");
  });

  it("tells its operators alone how it is", async () => {
    expect(await askStatus(asOperator())).toBe("none");
    expect(await askStatus(undefined)).toMatch(/^PEER_/);
    expect(await askStatus({ ...asOperator(), isStranger: true })).toBe("ACCESS_DENIED");
    expect(await askStatus(workerOfStage(0).member.towardsCoordinator)).toBe("ACCESS_DENIED");
  });

  it("lets steps into a stage from the node before it, and from no other", async () => {
    const [first, second] = [workerOfStage(0), workerOfStage(1)];
    expect(await openSteps(first.member, first.supervisor.nodeId)).toBe("opened");
    expect(await openSteps(second.member, first.supervisor.nodeId)).toBe("ACCESS_DENIED");
    expect(await openSteps(null, first.supervisor.nodeId)).toMatch(/^PEER_/);
  });

  it("gives the engine's process none of the environment", () => {
    expect(hostPids.size).toBe(2);
    for (const pid of hostPids) {
      const environment = readFileSync(`/proc/${pid}/environ`, "utf8");
      const names = environment.split("\0").map((entry) => entry.split("=")[0] ?? "");
      // Node itself tells a child how to reach its parent.
      expect(names.filter((name) => name !== "" && !name.startsWith("NODE_CHANNEL_"))).toEqual([]);
    }
  });

  it("keeps a secret from whoever has another authority than the token says", async () => {
    const token = readJoinToken(membership.makeToken(HOUR_MS, Date.now()));
    const dataDirectory = join(root, "deceived");
    const wrong = { ...token, authoritySha256: "0".repeat(64) };
    const member = new WorkerMember({ address: coordinator.address, token: wrong, dataDirectory, name: "deceived" });
    expect(await codeOf(member.open("n-0000000000cc", () => undefined))).toBe("PEER_UNTRUSTED");
    member[Symbol.dispose]();
    // The token was not used up, since nothing of it was sent.
    const other = new WorkerMember({ address: coordinator.address, token, dataDirectory, name: "sound" });
    expect(await codeOf(other.open("n-0000000000cc", () => undefined))).toBe("none");
    other[Symbol.dispose]();
  });

  it("ends what a node has open when it is shut out, and does not let it come back", async () => {
    const { supervisor, member } = workerOfStage(0);
    membership.revoke(supervisor.nodeId, Date.now());
    expect((await supervisor.closed)?.code).toBe("ACCESS_DENIED");
    expect(await askStatus(member.towardsCoordinator)).toBe("ACCESS_DENIED");
    expect(coordinator.status().nodes.find(({ id }) => id === supervisor.nodeId)?.state ?? "lost").toBe("lost");
  });
});
