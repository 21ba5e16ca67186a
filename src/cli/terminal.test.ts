import { EventEmitter } from "node:events";
import { expect, test } from "vitest";
import { openTerminal } from "./terminal.ts";

function makeStreams(hasKeyboard = true) {
  const written: string[] = [];
  const modes: (boolean | string)[] = [];
  const stdin = Object.assign(new EventEmitter(), {
    ...(hasKeyboard ? { isTTY: true } : {}),
    setRawMode: (on: boolean) => modes.push(on),
    resume: () => modes.push("resume"),
    pause: () => modes.push("pause"),
  });
  const stdout = Object.assign(new EventEmitter(), {
    columns: 20,
    rows: 3,
    write: (text: string) => written.push(text),
  });
  return { streams: Object.assign(new EventEmitter(), { stdin, stdout }), written, modes };
}

const ENTERED = "\u001b[?1049h\u001b[?25l\u001b[H\u001b[2J";
const LEFT = "\u001b[?25h\u001b[?1049l";

test("the screen is taken, drawn on, and given back once", () => {
  const { streams, written, modes } = makeStreams();
  const screen = openTerminal(streams).takeScreen(
    () => undefined,
    () => undefined,
  );
  screen.draw(["one", "two", "three", "beyond"]);
  screen.release();
  screen.release();
  screen.draw(["late"]);
  expect(written).toEqual([ENTERED, "\u001b[Hone\u001b[K\r\ntwo\u001b[K\r\nthree\u001b[K\u001b[J", LEFT]);
  expect(modes).toEqual([true, "resume", false, "pause"]);
  const emitters = [streams, streams.stdin, streams.stdout];
  expect(emitters.flatMap((each) => each.eventNames())).toEqual([]);
});

test("the end of the process gives the screen back too", () => {
  const { streams, written, modes } = makeStreams();
  openTerminal(streams).takeScreen(
    () => undefined,
    () => undefined,
  );
  streams.emit("exit");
  expect(written).toEqual([ENTERED, LEFT]);
  expect(modes).toContain(false);
});

test("keys and changes of the size arrive until the screen is released", () => {
  const { streams } = makeStreams();
  const seen: string[] = [];
  const screen = openTerminal(streams).takeScreen(
    (key) => seen.push(key),
    () => seen.push(`${screen.columns}x${screen.rows}`),
  );
  streams.stdin.emit("data", Buffer.from("q"));
  streams.stdout.columns = 99;
  streams.stdout.emit("resize");
  screen.release();
  streams.stdin.emit("data", Buffer.from("x"));
  streams.stdout.emit("resize");
  expect(seen).toEqual(["q", "99x3"]);
});

test("without a keyboard the screen works and keys are left alone", () => {
  const { streams, modes } = makeStreams(false);
  openTerminal(streams)
    .takeScreen(
      () => undefined,
      () => undefined,
    )
    .release();
  expect(modes).toEqual([]);
});
