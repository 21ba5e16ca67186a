import { request } from "node:http";
import { expect, test } from "vitest";
import { HttpServer } from "./http-server.ts";
import { startMetricsServer } from "./metrics-server.ts";

const source = {
  contentType: "text/plain; version=0.0.4; charset=utf-8",
  render: async () => "noodle_steps_total 1\n",
};

test("a worker's port has metrics in their own content type, and says that it is alive", async () => {
  await using server = await startMetricsServer("127.0.0.1", 0, source);
  const metrics = await fetch(`http://${server.address}/metrics`);
  expect(metrics.headers.get("content-type")).toBe(source.contentType);
  expect(await metrics.text()).toBe("noodle_steps_total 1\n");
  expect(await (await fetch(`http://${server.address}/health?now`)).json()).toEqual({ status: "alive" });
});

test("what is not there is told with what is, and other methods with what is allowed", async () => {
  await using server = await startMetricsServer("127.0.0.1", 0, source);
  const missing = await fetch(`http://${server.address}/elsewhere`);
  expect(missing.status).toBe(404);
  expect(await missing.json()).toMatchObject({ paths: ["/health", "/metrics"] });
  const refused = await fetch(`http://${server.address}/metrics`, { method: "DELETE" });
  expect(refused.status).toBe(405);
  expect(refused.headers.get("allow")).toBe("GET, HEAD");
});

test("HEAD tells the length without a body", async () => {
  await using server = await startMetricsServer("127.0.0.1", 0, source);
  const head = await fetch(`http://${server.address}/metrics`, { method: "HEAD" });
  expect(head.status).toBe(200);
  expect(head.headers.get("content-length")).toBe("21");
  expect(await head.text()).toBe("");
});

test("an error while answering is a 500 with its code, and the server goes on", async () => {
  const broken = { ...source, render: () => Promise.reject(new Error("no numbers")) };
  await using server = await startMetricsServer("127.0.0.1", 0, broken);
  const failed = await fetch(`http://${server.address}/metrics`);
  expect(failed.status).toBe(500);
  expect(await failed.json()).toMatchObject({ code: "INTERNAL" });
  expect((await fetch(`http://${server.address}/health`)).status).toBe(200);
});

test("a path that no URL parser would take is not found", async () => {
  await using server = await startMetricsServer("127.0.0.1", 0, source);
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

test("a port that is taken is PORT_IN_USE", async () => {
  await using first = await HttpServer.start("127.0.0.1", 0, "--port");
  const port = Number(first.address.split(":")[1]);
  await expect(startMetricsServer("127.0.0.1", port, source)).rejects.toMatchObject({ code: "PORT_IN_USE" });
});
