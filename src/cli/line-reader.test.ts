import { PassThrough } from "node:stream";
import { expect, test } from "vitest";
import { openLineReader } from "./line-reader.ts";

function open(isTTY: boolean) {
  const stdin = Object.assign(new PassThrough(), { isTTY, setRawMode: () => undefined });
  const stderr = Object.assign(new PassThrough(), { isTTY, columns: 80 });
  let shown = "";
  stderr.on("data", (chunk: Buffer) => {
    shown += chunk.toString();
  });
  return { stdin, reader: openLineReader({ stdin, stderr }), shown: () => shown };
}

test("lines through a pipe come in order, without prompts, and then there are no more", async () => {
  const { stdin, reader, shown } = open(false);
  stdin.end("one\r\ntwo\n\nlast");
  expect([await reader.next("> "), await reader.next("> "), await reader.next("> "), await reader.next("> ")]).toEqual([
    "one",
    "two",
    "",
    "last",
  ]);
  expect(await reader.next("> ")).toBeNull();
  expect(shown()).toBe("");
});

test("at a keyboard the prompt and what is typed are seen only while somebody is asked", async () => {
  const { stdin, reader, shown } = open(true);
  const first = reader.next("> ");
  stdin.write("hello\r");
  expect(await first).toBe("hello");
  expect(shown()).toContain("> ");
  const before = shown();
  stdin.write("typed ahead\r");
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(shown()).toBe(before);
  expect(await reader.next("> ")).toBe("typed ahead");
  reader.close();
});

test("Ctrl-C clears a half-typed line, is told where there is none, and Ctrl-D ends", async () => {
  const { stdin, reader } = open(true);
  let interrupts = 0;
  reader.onInterrupt(() => {
    interrupts += 1;
  });
  const first = reader.next("> ");
  stdin.write("half a line\u0003whole\r");
  expect(await first).toBe("whole");
  expect(interrupts).toBe(0);
  stdin.write("\u0003");
  await expect.poll(() => interrupts).toBe(1);
  const second = reader.next("> ");
  stdin.write("\u0004");
  expect(await second).toBeNull();
});
