import { describe, expect, it } from "vitest";
import { NoodleError } from "../common/index.ts";
import type { EventRecord } from "../observe/index.ts";
import { ClusterNews, makeRestartEvent } from "./cluster-news.ts";

const NODE = {
  nodeId: "n2",
  name: "worker-2",
  units: "5:10",
  state: "ready",
  rssBytes: 0,
  weightsBytes: 0,
  kvBytes: 0,
  computeBytes: 0,
  sessions: 0,
} as const;

function event(name: string, nodeId: string | null = null, details: EventRecord["details"] = {}): EventRecord {
  return { name, severity: "warning", nodeId, message: `${name} was told`, details };
}

function tell(): { readonly news: ClusterNews; readonly said: string[]; readonly clock: { nowMs: number } } {
  const said: string[] = [];
  const clock = { nowMs: 0 };
  const news = new ClusterNews({ prefix: "m: ", say: (words) => said.push(words), nowMs: () => clock.nowMs });
  return { news, said, clock };
}

describe("news of a cluster", () => {
  it("are who is lost, who is back after how long, and that streams go on", () => {
    const { news, said, clock } = tell();
    news.onNode(NODE);
    news.begin();
    news.onEvent(event("worker.lost", "n2"));
    news.onEvent(event("plan.broken", "n2"));
    news.onEvent(event("stage.ready", "n1"));
    clock.nowMs = 1250;
    news.onEvent(event("worker.joined", "n2"));
    news.onEvent(event("recovery.done", "n2", { cause: "peer_dead", epoch: 2, sessions: 0, replan_ms: 300 }));
    expect(said).toEqual([
      "m: worker.lost was told",
      "m: worker-2 is back after 1.3 s",
      expect.stringContaining("(worker-2, peer_dead)"),
    ]);
  });

  it("are none at the start and at the end, which others tell of", () => {
    const { news, said } = tell();
    news.onEvent(event("worker.joined", "n2"));
    news.begin();
    news.end();
    news.onEvent(event("worker.lost", "n2"));
    expect(said).toEqual([]);
  });
});

describe("a worker process that is started again", () => {
  it("is told of with its end, its last words and the wait", () => {
    const error = (details: object): NoodleError => new NoodleError("PEER_DEAD", "gone", { details: { ...details } });
    const killed = error({ nodeId: "worker-2", exitCode: null, signal: "SIGKILL", lastLines: [] });
    expect(makeRestartEvent(killed, 250)).toMatchObject({
      name: "worker.restarting",
      message: "worker-2 ended by SIGKILL; it is started again in 0.25 s",
      details: { worker: "worker-2", signal: "SIGKILL", wait_ms: 250 },
    });
    const failed = error({ nodeId: "worker-1", exitCode: 7, signal: null, lastLines: ["a", "no room"] });
    expect(makeRestartEvent(failed, 8000).message).toContain("with exit code 7, its last words: no room; ");
  });
});
