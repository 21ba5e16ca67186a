import { describe, expect, it } from "vitest";
import type { NoodleError } from "../common/index.ts";
import { compileJsonSchema, checkGrammar } from "../grammar/index.ts";
import { fitsGrammar } from "../grammar/testing.ts";
import { allowReasoning, parseToolCalls, toolGrammar } from "./index.ts";
import type { ToolDefinition, ToolStyle } from "./types.ts";

const parameters = {
  type: "object",
  properties: { city: { type: "string" }, days: { type: "integer" } },
  required: ["city"],
};
const weather: ToolDefinition = { type: "function", function: { name: "get_weather", parameters } };
const clock: ToolDefinition = { type: "function", function: { name: "get_time" } };
const strict: ToolDefinition = { type: "function", function: { name: "get_weather", parameters, strict: true } };
const THINK = { open: "<think>", close: "</think>" };

/** Calls as each style writes them. */
function write(style: ToolStyle, ...calls: readonly (readonly [string, unknown])[]): string {
  const key = style === "llama3" ? "parameters" : "arguments";
  const texts = calls.map(([name, args]) => `{"name": "${name}", "${key}": ${JSON.stringify(args)}}`);
  if (style === "hermes") return texts.map((text) => `<tool_call>\n${text}\n</tool_call>`).join("\n");
  if (style === "mistral") return `[TOOL_CALLS][${texts.join(", ")}]`;
  return texts.length === 1 ? String(texts[0]) : `[${texts.join(", ")}]`;
}

describe("a grammar of tool calls", () => {
  it.each(["hermes", "llama3", "mistral", "json"] as const)("holds the output to calls, in the style %s", (style) => {
    const grammar = String(toolGrammar([weather, clock], { style, choice: "required" }));
    checkGrammar(grammar);
    for (const call of [
      ["get_weather", { city: "Rome" }],
      ["get_time", { any: [1] }],
    ] as const) {
      const text = write(style, call);
      expect([text, fitsGrammar(grammar, text)]).toEqual([text, true]);
      expect(parseToolCalls(text, style).toolCalls).toEqual([{ name: call[0], arguments: JSON.stringify(call[1]) }]);
    }
    const two = write(style, ["get_time", {}], ["get_weather", { city: "x", days: 2 }]);
    expect(fitsGrammar(grammar, two)).toBe(style !== "llama3");
    const one = String(toolGrammar([weather, clock], { style, choice: "required", parallel: false }));
    expect(fitsGrammar(one, two)).toBe(false);
    for (const text of ["", "Hello", write(style, ["get_weather", { days: 2 }]), write(style, ["other", {}])])
      expect([text, fitsGrammar(grammar, text)]).toEqual([text, false]);
    const named = String(
      toolGrammar([weather, clock], { style, choice: { type: "function", function: { name: "get_time" } } }),
    );
    expect(fitsGrammar(named, write(style, ["get_time", {}]))).toBe(true);
    expect(fitsGrammar(named, write(style, ["get_weather", { city: "x" }]))).toBe(false);
  });

  it.each(["hermes", "llama3", "mistral", "json"] as const)(
    "leaves plain text free until a call begins, in the style %s",
    (style) => {
      expect(toolGrammar([weather], { style, choice: "auto" })).toBeUndefined();
      expect(toolGrammar([strict], { style, choice: "none" })).toBeUndefined();
      const grammar = String(toolGrammar([strict, clock], { style, choice: "auto" }));
      checkGrammar(grammar);
      const good = write(style, ["get_weather", { city: "x" }]);
      const bad = write(style, ["get_weather", { town: "x" }]);
      for (const text of ["", "Hello <b> [x] there\n", good, write(style, ["get_time", { a: 1 }])])
        expect([text, fitsGrammar(grammar, text)]).toEqual([text, true]);
      expect(fitsGrammar(grammar, bad)).toBe(false);
      if (style === "hermes" || style === "mistral") {
        expect(fitsGrammar(grammar, `Well, <tool_[TOOL_${good}`)).toBe(true);
        expect(fitsGrammar(grammar, `Well, <tool_[TOOL_${bad}`)).toBe(false);
      }
    },
  );

  it.each(["hermes", "llama3", "mistral", "json"] as const)(
    "takes an answer of a schema in the place of calls, in the style %s",
    (style) => {
      const answers = [parameters, { type: "array", items: { type: "string" } }, { type: "object" }];
      for (const answerSchema of answers) {
        const options = { style, choice: "auto", answerSchema } as const;
        const grammar = String(toolGrammar([weather, clock], options));
        checkGrammar(grammar);
        const call = write(style, ["get_weather", { city: "x" }]);
        const answer = answerSchema.type === "array" ? '["x","y"]' : '{"city":"x"}';
        for (const text of [call, answer]) expect([text, fitsGrammar(grammar, text)]).toEqual([text, true]);
        for (const text of ["", "Hello", `${answer}${call}`, write(style, ["other", {}]).slice(0, -1)])
          expect([text, fitsGrammar(grammar, text)]).toEqual([text, false]);
        expect(parseToolCalls(answer, style, ["get_weather", "get_time"])).toEqual({ content: answer, toolCalls: [] });
        const begun = String(toolGrammar([weather], { ...options, reasoning: THINK, startsReasoning: true }));
        for (const text of [call, answer]) {
          expect(fitsGrammar(begun, `hm</think>${text}`)).toBe(true);
          expect(fitsGrammar(begun, text)).toBe(false);
        }
        const required = String(toolGrammar([weather], { ...options, choice: "required" }));
        expect([fitsGrammar(required, call), fitsGrammar(required, answer)]).toEqual([true, false]);
      }
    },
  );

  it("has room for reasoning in front", () => {
    const call = write("hermes", ["get_time", {}]);
    const grammar = String(toolGrammar([clock], { style: "hermes", choice: "required", reasoning: THINK }));
    expect(fitsGrammar(grammar, call)).toBe(true);
    expect(fitsGrammar(grammar, `<think>\nhm </thin <think> ok</think>\n\n${call}`)).toBe(true);
    expect(fitsGrammar(grammar, `<think>hm</think>no call`)).toBe(false);
    const begun = String(
      toolGrammar([clock], { style: "hermes", choice: "required", reasoning: THINK, startsReasoning: true }),
    );
    expect(fitsGrammar(begun, call)).toBe(false);
    expect(fitsGrammar(begun, `hm</think>${call}`)).toBe(true);
    const answer = allowReasoning(
      compileJsonSchema({ type: "object", properties: { root: { const: "root" } } }),
      THINK,
      false,
    );
    checkGrammar(answer);
    expect(fitsGrammar(answer, '<think>x</think>{"root":"root"}')).toBe(true);
    const own = 'root ::= reasoning "-" [root#"] # root\nreasoning ::= "root"';
    expect(fitsGrammar(allowReasoning(own, THINK, true), "x</think>root-#")).toBe(true);
  });

  it("names the tool whose schema can't be followed", () => {
    const broken: ToolDefinition = {
      type: "function",
      function: { name: "broken", parameters: { type: "object", properties: { a: { not: {} } } } },
    };
    const codeOf = (tools: readonly ToolDefinition[], name: string): string => {
      try {
        toolGrammar(tools, { style: "hermes", choice: { type: "function", function: { name } } });
      } catch (error) {
        expect((error as NoodleError).message).toContain(name === "broken" ? "`broken`" : "");
        return (error as NoodleError).code;
      }
      return "none";
    };
    expect(codeOf([broken], "broken")).toBe("GRAMMAR_INVALID");
    expect(codeOf([broken], "missing")).toBe("REQUEST_INVALID");
  });
});
