import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import type { CliHost } from "../host.ts";
import { collectHost } from "../host.ts";
import { runCli } from "../program.ts";
import type { Screen, Terminal } from "../terminal.ts";
import { makeStatus } from "../testing-top.ts";

const closers: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0)) await close();
});

async function serve(answer: (response: ServerResponse, path: string) => void): Promise<string> {
  const server = createServer((request, response) => answer(response, request.url ?? ""));
  await new Promise<void>((resolve) => {
    server.listen(0, "127.0.0.1", resolve);
  });
  closers.push(
    () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  );
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const serveStatus = (): Promise<string> =>
  serve(
    (response, path) => void response.writeHead(path === "/v1/status" ? 200 : 404).end(JSON.stringify(makeStatus())),
  );

/** A terminal that keeps what is drawn and lets the test press keys. */
function makeTerminal(onDraw: (lines: readonly string[], press: (key: string) => void) => void) {
  const log: string[] = [];
  const terminal: Terminal = {
    columns: 100,
    takeScreen: (onKey): Screen => {
      log.push("taken");
      return {
        columns: 100,
        rows: 40,
        draw: (lines) => onDraw(lines, onKey),
        release: () => void log.push("released"),
      };
    },
  };
  return { terminal, log };
}

function onTerminal(host: CliHost, terminal: Terminal): CliHost {
  return { ...host, stdout: { ...host.stdout, isTty: true }, terminal };
}

describe("noodle top", () => {
  test("prints one frame without control codes where stdout is no terminal", async () => {
    const host = collectHost({ COLUMNS: "120" });
    expect(await runCli(["top", "--url", await serveStatus()], host)).toBe(0);
    expect(host.written.stdout).toContain("bottleneck: stage 1 on host-b takes 61% of a token: compute\n");
    expect(host.written.stdout).not.toContain("\u001b");
    expect(Math.max(...host.written.stdout.split("\n").map((line) => line.length))).toBeGreaterThan(80);
  });

  test("prints one frame with --once on a terminal, without taking its screen", async () => {
    const host = collectHost();
    const { terminal, log } = makeTerminal(() => undefined);
    expect(await runCli(["top", "--once", "--url", await serveStatus()], onTerminal(host, terminal))).toBe(0);
    expect(host.written.stdout).toContain("tokens/s 18.3 out, 140 in");
    expect(log).toEqual([]);
  });

  test("prints one document with --json --once", async () => {
    const host = collectHost();
    expect(await runCli(["top", "--json", "--once", "--url", await serveStatus()], host)).toBe(0);
    expect(host.written.stdout.trimEnd().split("\n")).toHaveLength(1);
    expect(JSON.parse(host.written.stdout)).toMatchObject({ schema: "noodle.top.v1", bottleneck: { stage: 1 } });
  });

  test("prints one document for each interval with --json, until it is interrupted", async () => {
    const abort = new AbortController();
    const host = collectHost();
    const lines: string[] = [];
    const stdout = {
      isTty: false,
      write: (text: string): void => {
        lines.push(text);
        if (lines.length === 3) abort.abort(new Error("enough"));
      },
    };
    const url = await serveStatus();
    await runCli(["top", "--json", "--interval", "1ms", "--url", url], { ...host, stdout, signal: abort.signal });
    expect(lines).toHaveLength(3);
    expect(lines.map((line) => (JSON.parse(line) as { schema: string }).schema)).toEqual(
      Array.from({ length: 3 }, () => "noodle.top.v1"),
    );
  });

  test("draws again and again on a terminal until q, and gives the screen back", async () => {
    let drawn = 0;
    const { terminal, log } = makeTerminal((lines, press) => {
      drawn += 1;
      expect(lines.at(-1)).toBe("q quits");
      if (drawn === 3) press("q");
    });
    const host = collectHost();
    const url = await serveStatus();
    expect(await runCli(["top", "--interval", "1ms", "--url", url], onTerminal(host, terminal))).toBe(0);
    expect(drawn).toBe(3);
    expect(log).toEqual(["taken", "released"]);
  });

  test("ends as interrupted at Ctrl-C, which a raw terminal hands over as a key", async () => {
    const { terminal, log } = makeTerminal((_, press) => press("\u0003"));
    expect(await runCli(["top", "--url", await serveStatus()], onTerminal(collectHost(), terminal))).toBe(130);
    expect(log).toEqual(["taken", "released"]);
  });

  test("keeps the last figures and says so while the coordinator does not answer", async () => {
    let asked = 0;
    const url = await serve((response) => {
      asked += 1;
      if (asked === 2) response.destroy();
      else response.writeHead(200).end(JSON.stringify(makeStatus()));
    });
    const footers: string[] = [];
    const { terminal } = makeTerminal((lines, press) => {
      footers.push(lines.at(-1) ?? "");
      expect(lines.join("\n")).toContain("host-b");
      if (footers.length === 3) press("q");
    });
    expect(await runCli(["top", "--interval", "1ms", "--url", url], onTerminal(collectHost(), terminal))).toBe(0);
    expect(footers[0]).toBe("q quits");
    expect(footers[1]).toMatch(/^no answer, the figures are old: PEER_UNREACHABLE/);
    expect(footers[2]).toBe("q quits");
  });

  test("gives the screen back when drawing fails", async () => {
    const { terminal, log } = makeTerminal(() => {
      throw new Error("the terminal is gone");
    });
    expect(await runCli(["top", "--url", await serveStatus()], onTerminal(collectHost(), terminal))).toBe(1);
    expect(log).toEqual(["taken", "released"]);
  });

  test.each([
    ["nobody answers", "PEER_UNREACHABLE", () => Promise.resolve("http://127.0.0.1:9")],
    [
      "the cluster is being started",
      "CLUSTER_NOT_READY",
      () => serve((response) => void response.writeHead(503).end("{}")),
    ],
    [
      "something else answers",
      "PROTOCOL_MISMATCH",
      () => serve((response) => void response.writeHead(200).end("<html>")),
    ],
    ["the path is not there", "PROTOCOL_MISMATCH", () => serve((response) => void response.writeHead(404).end("{}"))],
    [
      "the answer has no end",
      "PROTOCOL_MISMATCH",
      () => serve((response) => response.writeHead(200).end("x".repeat(2 ** 24 + 1))),
    ],
    ["the URL is none", "USAGE", () => Promise.resolve("localhost:7420")],
    ["the interval is none", "USAGE", () => Promise.resolve("http://127.0.0.1:9 --interval soon")],
  ])("when %s it ends with %s and touches no screen", async (_, code, start) => {
    const host = collectHost();
    const { terminal, log } = makeTerminal(() => undefined);
    const argv = ["top", "--url", ...(await start()).split(" ")];
    expect(await runCli(argv, onTerminal(host, terminal))).toBeGreaterThan(0);
    expect(host.written.stderr).toContain(`noodle: ${code}:`);
    expect(log).toEqual([]);
  });
});
