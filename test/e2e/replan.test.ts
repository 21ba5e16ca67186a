import { readFileSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { z } from "zod";
import { ErrorDocument, GenerateDocument, UpDocument } from "./documents.ts";
import { runNoodle, STORYTELLER, startNoodle, tempPath } from "./noodle.ts";

const LIMIT_MS = 180_000;
const TEXT = ["-p", "Once upon a time there was a king who had three sons.", "--json"];

const PlanStatus = z.object({
  plan: z.object({
    epoch: z.number(),
    split: z.string(),
    order: z.array(z.string()),
    sha256: z.string().nullable(),
    predicted: z.object({ period_ms: z.number(), latency_ms: z.number(), tokens_per_s: z.number() }).nullable(),
    former: z.unknown(),
  }),
});
type PlanDocument = { split: string; order: string[]; stages: Record<string, unknown>[] } & Record<string, unknown>;

/** A plan of two unlike machines, as `noodle plan` writes it. */
async function writePlans(): Promise<{ readonly first: string; readonly second: string }> {
  const cluster = tempPath("cluster.yaml");
  const first = tempPath("first.json");
  const profile = tempPath("profile");
  const measured = await runNoodle(["profile", STORYTELLER, "--synthetic", "--budget", "2s", "--out", profile]);
  expect(measured.code).toBe(0);
  const yaml = `schema: noodle/v1
nodes:
  - {name: worker-2, profile: ${profile}, memory: 1GiB}
  - {name: worker-1, profile: ${profile}, scale: {decode: 2, prefill: 2}, memory: 1GiB}
`;
  writeFileSync(cluster, yaml);
  const sizes = ["--streams", "2", "--context", "256"];
  const made = await runNoodle([
    "plan",
    STORYTELLER,
    "--cluster",
    cluster,
    ...sizes,
    "--baseline",
    "equal",
    "-o",
    first,
  ]);
  expect(made.stderr).not.toContain("noodle:");
  const plan = JSON.parse(readFileSync(first, "utf8")) as PlanDocument;
  expect(plan.stages).toHaveLength(2);
  // The same cut with the nodes changed about.
  const second = tempPath("second.json");
  const order = [...plan.order].reverse();
  const stages = plan.stages.map((stage, index) => ({ ...stage, node: order[index] }));
  writeFileSync(second, JSON.stringify({ ...plan, order, stages }));
  return { first, second };
}

test("a plan is taken at the start, and another while a stream goes on, which ends as if alone", {
  timeout: LIMIT_MS,
}, async () => {
  const { first, second } = await writePlans();
  const common = ["--workers", "2", "--context", "256", "--parallel", "2", "--threads", "1"];
  const ports = ["--port", "0", "--grpc-port", "0", "--json"];
  const up = startNoodle(["up", STORYTELLER, ...common, "--plan", first, ...ports]);
  await up.said(/^\}$/m);
  const address = UpDocument.parse(JSON.parse(up.stdout())).grpc_address;
  const to = ["--coordinator", address];
  const before = PlanStatus.parse(JSON.parse((await runNoodle(["status", ...to, "--json"])).stdout)).plan;
  const planned = JSON.parse(readFileSync(first, "utf8")) as PlanDocument;
  const alone = ["up", STORYTELLER, "--workers", "1", "--data", tempPath("other"), "--port", "0", "--json"];
  const few = await runNoodle([...alone, "--plan", first]);
  expect({ code: few.code, error: ErrorDocument.parse(JSON.parse(few.stdout)).code }).toEqual({
    code: 2,
    error: "PLAN_INVALID",
  });
  expect(before).toMatchObject({ split: planned.split, order: planned.order });
  expect(before.predicted?.period_ms).toBeGreaterThan(0);

  const stream = startNoodle(["generate", ...to, ...TEXT, "-n", "200"]);
  const unknown = tempPath("unknown.json");
  const named = JSON.stringify(planned).replaceAll('"worker-2"', '"desk"');
  writeFileSync(unknown, named);
  const refused = await runNoodle(["repartition", ...to, "--plan", unknown, "--json"]);
  expect(ErrorDocument.parse(JSON.parse(refused.stdout)).code).toBe("PLAN_INVALID");
  const dry = await runNoodle(["repartition", ...to, "--plan", second, "--dry-run", "--json"]);
  expect(JSON.parse(dry.stdout)).toMatchObject({ schema: "noodle.replan.v1", dry_run: true, changes: true });

  const moved = await runNoodle(["repartition", ...to, "--plan", second, "--json"]);
  expect(moved.code).toBe(0);
  const after = PlanStatus.parse(JSON.parse(moved.stdout)).plan;
  expect(after.epoch).toBeGreaterThan(before.epoch);
  expect(after).toMatchObject({ split: before.split, order: [...before.order].reverse() });
  const fresh = GenerateDocument.parse(JSON.parse((await runNoodle(["generate", ...to, ...TEXT, "-n", "16"])).stdout));
  const old = GenerateDocument.parse(JSON.parse((await stream.finished).stdout));
  const undivided = await runNoodle(["generate", STORYTELLER, ...TEXT, "-n", "200", "--threads", "1", "--reference"]);
  const reference = GenerateDocument.parse(JSON.parse(undivided.stdout));
  expect(old.token_ids).toEqual(reference.token_ids);
  expect(fresh.token_ids).toEqual(reference.token_ids.slice(0, 16));
  up.child.kill("SIGINT");
  expect((await up.finished).code).toBe(130);
  expect(up.processes()).toEqual([]);
});
