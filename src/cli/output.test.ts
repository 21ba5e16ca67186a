import { describe, expect, test } from "vitest";
import { NoodleError } from "../common/index.ts";
import { collectHost } from "./host.ts";
import { Output } from "./output.ts";
import { Progress } from "./progress.ts";

describe("Output", () => {
  test("without --json data goes to stdout and the document nowhere", () => {
    const host = collectHost();
    const out = new Output(host, false);
    out.line("data");
    out.document({ schema: "x.v1" });
    out.note("beside");
    expect(host.written).toEqual({ stdout: "data\n", stderr: "beside\n" });
  });

  test("with --json stdout holds the document alone", () => {
    const host = collectHost();
    const out = new Output(host, true);
    out.line("data");
    out.document({ schema: "x.v1" });
    expect(JSON.parse(host.written.stdout)).toEqual({ schema: "x.v1" });
  });

  test("an error is the document when there is none yet", () => {
    const host = collectHost();
    new Output(host, true).error(new NoodleError("CUT_OUT_OF_RANGE", "unit 99", { details: { unit: 99 } }));
    expect(JSON.parse(host.written.stdout)).toMatchObject({
      schema: "noodle.error.v1",
      code: "CUT_OUT_OF_RANGE",
      details: { unit: 99 },
      retryable: false,
    });
    expect(host.written.stderr).toContain("CUT_OUT_OF_RANGE");
  });

  test("an error behind a document leaves stdout one document", () => {
    const host = collectHost();
    const out = new Output(host, true);
    out.document({ schema: "x.v1" });
    // Another Output of the same run, as the command line's own error printing is.
    new Output(host, true).error(new NoodleError("VERIFY_FAILED", "token 3"));
    expect(JSON.parse(host.written.stdout)).toEqual({ schema: "x.v1" });
    expect(host.written.stderr).toContain("VERIFY_FAILED");
  });
});

describe("Progress", () => {
  function record(isTty: boolean): { text: () => string; progress: Progress; tick: (ms: number) => void } {
    let text = "";
    let now = 0;
    const sink = {
      isTty,
      write: (part: string) => {
        text += part;
      },
    };
    return {
      text: () => text,
      progress: new Progress(sink, () => now),
      tick: (ms) => {
        now += ms;
      },
    };
  }

  test("off a terminal only phases are written", () => {
    const { text, progress, tick } = record(false);
    progress.phase("cutting");
    tick(1500);
    progress.update(0.5);
    progress.phase("loading");
    expect(text()).toBe("[  0.0s] cutting\n[  1.5s] loading\n");
  });

  test("on a terminal a line is redrawn at most ten times a second, and removed before other text", () => {
    const { text, progress, tick } = record(true);
    progress.phase("cutting");
    progress.update(0.1);
    tick(50);
    progress.update(0.2);
    tick(50);
    progress.update(0.3, "3 of 10");
    progress.clear();
    expect(text().split("\r\u001b[K")).toEqual([
      "[  0.0s] cutting\n",
      "[  0.0s] cutting: 10%",
      "[  0.1s] cutting: 30% 3 of 10",
      "",
    ]);
  });
});
