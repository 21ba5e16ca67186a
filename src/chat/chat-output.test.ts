import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type ChatOutputOptions, openChatOutput, type OutputPiece, parseToolCalls } from "./index.ts";

const THINK = { open: "<think>", close: "</think>" };
const CALLS =
  '<tool_call>\n{"name": "f", "arguments": {"a": "</tool_call>"}}\n</tool_call>\n<tool_call>{"name":"g","arguments":{}}</tool_call>';

type Told = string | readonly [string, string];

/** Text as `content: ...` or `reasoning: ...`, calls as [name, arguments]; neighbours of one kind are joined. */
function readAll(options: ChatOutputOptions, parts: readonly string[]): Told[] {
  const output = openChatOutput(options);
  const told: Told[] = [];
  let last = "";
  const take = (pieces: readonly OutputPiece[]): void => {
    for (const piece of pieces) {
      if (piece.type === "tool_call") told.push([piece.name, piece.arguments]);
      else if (piece.type === last) told.push(`${String(told.pop())}${piece.text}`);
      else told.push(`${piece.type}: ${piece.text}`);
      last = piece.type;
      if (piece.type !== "tool_call") expect(piece.text).not.toBe("");
    }
  };
  for (const part of parts) take(output.push(part));
  take(output.end());
  expect(output.toolCalls).toBe(told.filter((one) => typeof one !== "string").length);
  return told;
}

const CASES: readonly (readonly [string, ChatOutputOptions, string, readonly Told[]])[] = [
  [
    "text and two calls",
    { toolStyle: "hermes", reasoning: null },
    `Well <b>\n${CALLS}`,
    ["content: Well <b>", ["f", '{"a":"</tool_call>"}'], ["g", "{}"]],
  ],
  [
    "text behind a call",
    { toolStyle: "hermes", reasoning: null },
    '<tool_call>{"name":"f"}</tool_call>\nDone',
    [["f", "{}"], "content: Done"],
  ],
  [
    "a tag with no call in it",
    { toolStyle: "hermes", reasoning: THINK },
    "<think>\nhm < ok\n</think>\n\nOh <tool_call>\nno\n</tool_call> x",
    ["reasoning: hm < ok", "content: Oh <tool_call>\nno\n</tool_call> x"],
  ],
  [
    "a call that never closes",
    { toolStyle: "hermes", reasoning: null },
    '<tool_call>\n{"name": "f", "arguments": {"a": 1}}',
    [["f", '{"a":1}']],
  ],
  [
    "half a call",
    { toolStyle: "hermes", reasoning: null },
    '<tool_call>\n{"name": "f", "argum',
    ['content: <tool_call>\n{"name": "f", "argum'],
  ],
  [
    "a call of an unknown tool",
    { toolStyle: "hermes", toolNames: ["g"], reasoning: null },
    '<tool_call>{"name":"f"}</tool_call>',
    ['content: <tool_call>{"name":"f"}</tool_call>'],
  ],
  [
    "reasoning that the prompt began",
    { toolStyle: null, reasoning: THINK, startsReasoning: true },
    "\nhm </thin</think> Hi  ",
    ["reasoning: hm </thin", "content: Hi  "],
  ],
  ["reasoning that never ends", { toolStyle: null, reasoning: THINK }, " <think> a b ", ["reasoning: a b"]],
  [
    "a tag of reasoning in the middle",
    { toolStyle: null, reasoning: THINK },
    "  plain <think> later",
    ["content:   plain <think> later"],
  ],
  [
    "llama's calls",
    { toolStyle: "llama3", reasoning: null },
    '{"name": "f", "parameters": {"x": [1, 2]}}; {"name":"g","parameters":{}}',
    [
      ["f", '{"x":[1,2]}'],
      ["g", "{}"],
    ],
  ],
  [
    "llama's tag",
    { toolStyle: "llama3", reasoning: null },
    '<|python_tag|>{"type": "function", "name": "f", "parameters": {}}',
    [["f", "{}"]],
  ],
  [
    "an object that is an answer",
    { toolStyle: "llama3", reasoning: null },
    '{"answer": 42} and more',
    ['content: {"answer": 42} and more'],
  ],
  [
    "an object with the name of no tool",
    { toolStyle: "llama3", toolNames: ["f"], reasoning: null },
    '{"name": "h", "parameters": {}} tail',
    ['content: {"name": "h", "parameters": {}} tail'],
  ],
  [
    "mistral's list",
    { toolStyle: "mistral", reasoning: null },
    'ok [TOOL_CALLS] [{"name": "f", "arguments": {"a": 1}}, {"name": "g", "arguments": {}}]',
    ["content: ok", ["f", '{"a":1}'], ["g", "{}"]],
  ],
  [
    "mistral's newer form",
    { toolStyle: "mistral", reasoning: null },
    '[TOOL_CALLS]f[ARGS]{"a": 1}[TOOL_CALLS]g[CALL_ID]x1[ARGS]{}',
    [
      ["f", '{"a":1}'],
      ["g", "{}"],
    ],
  ],
  [
    "mistral's tag alone",
    { toolStyle: "mistral", reasoning: null },
    "[TOOL_CALLS] what is it?",
    ["content: [TOOL_CALLS] what is it?"],
  ],
  [
    "a list of calls",
    { toolStyle: "json", reasoning: null },
    ' [{"name": "f", "arguments": "{\\"a\\": 1}"}, {"function": {"name": "g"}}]',
    [
      ["f", '{"a":1}'],
      ["g", "{}"],
    ],
  ],
  [
    "a list that is an answer",
    { toolStyle: "json", reasoning: null },
    "[1, 2, 3] is a list",
    ["content: [1, 2, 3] is a list"],
  ],
  [
    "no tools",
    { toolStyle: null, reasoning: null },
    '{"name": "f"} <tool_call>',
    ['content: {"name": "f"} <tool_call>'],
  ],
  ["nothing", { toolStyle: "hermes", reasoning: THINK }, "", []],
];

describe("a model's output", () => {
  it.each(CASES)("is taken apart: %s", (_, options, text, expected) => {
    expect(readAll(options, [text])).toEqual(expected);
  });

  it.each(CASES)("is taken apart alike however it comes: %s", (_, options, text, expected) => {
    expect(readAll(options, Array.from(text))).toEqual(expected);
    for (let at = 0; at <= text.length; at++)
      expect(readAll(options, [text.slice(0, at), text.slice(at)])).toEqual(expected);
  });

  it("tells text as soon as it can't be anything else", () => {
    const output = openChatOutput({ toolStyle: "hermes", reasoning: THINK });
    expect(output.push("Hel")).toEqual([{ type: "content", text: "Hel" }]);
    expect(output.push("lo <")).toEqual([{ type: "content", text: "lo" }]);
    expect(output.push("b")).toEqual([{ type: "content", text: " <b" }]);
    expect(output.push("<tool_")).toEqual([]);
    expect(output.end()).toEqual([{ type: "content", text: "<tool_" }]);
  });

  it("loses nothing of any text", () => {
    const part = fc.constantFrom(
      "<tool_call>",
      "</tool_call>",
      "<think>",
      "</think>",
      "[TOOL_CALLS]",
      "[ARGS]",
      "{",
      "}",
      '"name"',
      ":",
      '"f"',
      "[",
      "]",
      "x",
      " ",
      "\n",
      "<|python_tag|>",
      ",",
    );
    fc.assert(
      fc.property(
        fc.array(part, { maxLength: 14 }),
        fc.constantFrom("hermes", "llama3", "mistral", "json"),
        (parts, toolStyle) => {
          const text = parts.join("");
          const told = readAll({ toolStyle, toolNames: ["never"], reasoning: null }, parts);
          expect(told).toEqual(text === "" ? [] : [`content: ${text}`]);
        },
      ),
      { seed: 6, numRuns: 1500 },
    );
  });

  it("gives up on a call that is too long", () => {
    const text = `<tool_call>{"name": "f", "arguments": {"a": "${"x".repeat(1_100_000)}`;
    const output = openChatOutput({ toolStyle: "hermes", reasoning: null });
    const told = output.push(text);
    expect(told.map((piece) => (piece.type === "content" ? piece.text : "")).join("")).toBe(text);
  });

  it("is parsed as a whole for callers that do not stream", () => {
    expect(parseToolCalls(`Well ${CALLS}`, "hermes")).toEqual({
      content: "Well",
      toolCalls: [
        { name: "f", arguments: '{"a":"</tool_call>"}' },
        { name: "g", arguments: "{}" },
      ],
    });
    expect(parseToolCalls(CALLS, "hermes", []).toolCalls).toEqual([]);
  });
});
