import { expect, it } from "vitest";
import type { ClusterConfig, Plan } from "../state/index.ts";
import { Control } from "./control.ts";

const CONFIG: ClusterConfig = {
  split: [{ first: 0, end: 4 }],
  leaseMs: 3000,
  protocolVersion: 1,
  firstEpoch: 0,
  engineBuild: null,
  parallel: 1,
  threads: 0,
  cpuVariant: "",
};

const CAPABILITIES = {
  protocolVersion: 1,
  noodlecoreVersion: "",
  engineBuild: "b",
  cpuVariant: "",
  cpuModel: "",
  cpuFeatures: [],
  cores: 1,
  threads: 1,
  memoryTotalBytes: 0,
  memoryFreeBytes: 0,
  memoryLimitBytes: 0,
  diskFreeBytes: 0,
  dataDirectory: "",
  platform: "",
  devices: [],
};

function createControl(): { control: Control; log: string[]; clock: { ms: number } } {
  const clock = { ms: 0 };
  const log: string[] = [];
  const control: Control = new Control(
    CONFIG,
    { nowMs: () => clock.ms },
    {
      assign: (plan: Plan) => log.push(`assign ${plan.epoch}`),
      expire: (nodeId, incarnation, fault) => {
        log.push(`expire ${nodeId} ${fault.code}`);
        // What a dropped connection does: it reports the loss from within the effect.
        control.dispatch({ type: "lost", nodeId, incarnation, fault });
      },
      endSession: (sessionId, fault) => log.push(`end ${sessionId} ${fault.code}`),
      changed: () => undefined,
    },
  );
  return { control, log, clock };
}

function register(control: Control, nowMs: number): void {
  const registration = { nodeId: "a", name: "a", address: "h:1", pid: 1, incarnation: "1", capabilities: CAPABILITIES };
  control.dispatch({ type: "registered", registration, nowMs });
}

it("a lease that runs out expires the node once and ends its sessions", () => {
  const { control, log, clock } = createControl();
  register(control, 0);
  control.dispatch({ type: "sessionOpened", session: { id: "s", slot: 0, epoch: 1 } });
  for (clock.ms = 250; clock.ms < 3000; clock.ms += 250) control.tick();
  expect(log).toEqual(["assign 1"]);
  control.tick();
  control.tick();
  expect(log.filter((line) => line.startsWith("expire"))).toEqual(["expire a PEER_STALLED"]);
  expect(log).toContain("end s PEER_STALLED");
});

it("a coordinator that stood still gives its workers their lease anew", () => {
  const { control, log, clock } = createControl();
  register(control, 0);
  clock.ms = 60_000;
  control.tick();
  clock.ms += 250;
  control.tick();
  expect(log).toEqual(["assign 1"]);
});

it("waiting for a change ends with the change", async () => {
  const { control } = createControl();
  const changed = control.nextChange(60_000);
  register(control, 0);
  await expect(changed).resolves.toBeUndefined();
});
