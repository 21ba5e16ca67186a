import { request } from "node:http";
import { expect, test } from "vitest";
import type { StatusDocument } from "../cluster/coordinator/index.ts";
import { startMetricsServer } from "./metrics-server.ts";
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
    observing: {
      observed: false,
      hooks: true,
      sample_every: 50,
      sample_level: "layer",
      observations: 0,
      observations_refused: 0,
      observations_dropped: 0,
      observer_failures: 0,
    },
  },
  health: { status: "ready", reason: null, error: null },
  nodes: [],
  stages: [],
  sessions: [],
};

const source = {
  contentType: "text/plain; version=0.0.4; charset=utf-8",
  render: async () => "noodle_steps_total 1\n",
};

test("status and health follow the cluster, from before it is there", async () => {
  await using server = await StatusServer.start("127.0.0.1", 0);
  const get = (path: string, method = "GET"): Promise<Response> => fetch(`http://${server.address}${path}`, { method });
  expect((await get("/health")).status).toBe(503);
  expect((await get("/v1/status")).status).toBe(503);
  server.show(() => ({ ...STATUS, health: { status: "waiting", reason: "no workers", error: null } }));
  expect((await get("/health")).status).toBe(503);
  server.show(() => STATUS);
  expect((await get("/health")).status).toBe(200);
  expect(await (await get("/v1/status?now")).json()).toEqual(STATUS);
  expect((await get("/elsewhere")).status).toBe(404);
  expect((await get("/health", "POST")).status).toBe(405);
});

test("metrics are there from when they are shown, in their own content type", async () => {
  await using server = await StatusServer.start("127.0.0.1", 0);
  const url = `http://${server.address}/metrics`;
  const missing = await fetch(url);
  expect(missing.status).toBe(404);
  expect(await missing.json()).toMatchObject({ paths: ["/health", "/v1/status"] });
  server.showMetrics(source);
  const found = await fetch(url);
  expect(found.status).toBe(200);
  expect(found.headers.get("content-type")).toBe(source.contentType);
  expect(await found.text()).toBe("noodle_steps_total 1\n");
});

test("HEAD tells length and type without a body, other methods are told what is allowed", async () => {
  await using server = await StatusServer.start("127.0.0.1", 0);
  server.showMetrics(source);
  const url = `http://${server.address}/metrics`;
  const head = await fetch(url, { method: "HEAD" });
  expect(head.status).toBe(200);
  expect(head.headers.get("content-length")).toBe("21");
  expect(await head.text()).toBe("");
  const refused = await fetch(url, { method: "DELETE" });
  expect(refused.status).toBe(405);
  expect(refused.headers.get("allow")).toBe("GET, HEAD");
});

test("an error while answering is a 500 with its code, and the server goes on", async () => {
  await using server = await StatusServer.start("127.0.0.1", 0);
  server.showMetrics({ ...source, render: () => Promise.reject(new Error("no numbers")) });
  const failed = await fetch(`http://${server.address}/metrics`);
  expect(failed.status).toBe(500);
  expect(await failed.json()).toMatchObject({ code: "INTERNAL" });
  expect((await fetch(`http://${server.address}/health`)).status).toBe(503);
});

test("a path that no URL parser would take is not found", async () => {
  await using server = await StatusServer.start("127.0.0.1", 0);
  const [host = "", port = ""] = server.address.split(":");
  const status = await new Promise((resolve, reject) => {
    request({ host, port: Number(port), path: "//%zz/../metrics?#" }, (response) => {
      response.resume();
      resolve(response.statusCode);
    })
      .on("error", reject)
      .end();
  });
  expect(status).toBe(404);
});

test("a worker's port has metrics and says that it is alive", async () => {
  await using server = await startMetricsServer("127.0.0.1", 0, source);
  expect(await (await fetch(`http://${server.address}/metrics`)).text()).toBe("noodle_steps_total 1\n");
  expect(await (await fetch(`http://${server.address}/health`)).json()).toEqual({ status: "alive" });
  const port = Number(server.address.split(":")[1]);
  await expect(startMetricsServer("127.0.0.1", port, source)).rejects.toMatchObject({ code: "PORT_IN_USE" });
});

test("a port that is taken is PORT_IN_USE", async () => {
  await using first = await StatusServer.start("127.0.0.1", 0);
  const port = Number(first.address.split(":")[1]);
  await expect(StatusServer.start("127.0.0.1", port)).rejects.toMatchObject({ code: "PORT_IN_USE" });
});
