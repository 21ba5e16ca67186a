import { expect, test } from "vitest";
import type { StatusDocument } from "../cluster/coordinator/index.ts";
import { StatusServer } from "./status-server.ts";

const STATUS: StatusDocument = {
  schema: "noodle.status.v1",
  coordinator: {
    address: "127.0.0.1:1",
    pid: 1,
    rss_bytes: 1,
    coordinator_epoch: 1,
    epoch: 1,
    protocol_version: 1,
    uptime_ms: 1,
    model: { path: "model.gguf", units: 3, bytes: 1 },
    context_tokens: 64,
    parallel: 1,
    threads: 1,
  },
  health: { status: "ready", reason: null, error: null },
  nodes: [],
  stages: [],
  sessions: [],
};

test("status and health follow the cluster, from before it is there", async () => {
  await using server = await StatusServer.start("127.0.0.1", 0);
  const get = (path: string, method = "GET"): Promise<Response> => fetch(`http://${server.address}${path}`, { method });
  expect((await get("/health")).status).toBe(503);
  server.show(() => ({ ...STATUS, health: { status: "waiting", reason: "no workers", error: null } }));
  expect((await get("/health")).status).toBe(503);
  server.show(() => STATUS);
  expect((await get("/health")).status).toBe(200);
  expect(await (await get("/v1/status?now")).json()).toEqual(STATUS);
  expect((await get("/elsewhere")).status).toBe(404);
  expect((await get("/health", "POST")).status).toBe(405);
});

test("a port that is taken is PORT_IN_USE", async () => {
  await using first = await StatusServer.start("127.0.0.1", 0);
  const port = Number(first.address.split(":")[1]);
  await expect(StatusServer.start("127.0.0.1", port)).rejects.toMatchObject({ code: "PORT_IN_USE" });
});
