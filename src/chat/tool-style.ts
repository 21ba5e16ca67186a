import type { ReasoningTags, ToolStyle } from "./types.ts";

/** Texts that a style's calls stand between. */
export const STYLE_MARKERS: Readonly<Record<ToolStyle, readonly string[]>> = {
  hermes: ["<tool_call>", "</tool_call>"],
  llama3: ["<|python_tag|>"],
  mistral: ["[TOOL_CALLS]"],
  json: [],
};

const REASONING: readonly ReasoningTags[] = [
  { open: "<think>", close: "</think>" },
  { open: "[THINK]", close: "[/THINK]" },
  { open: "<|START_THINKING|>", close: "<|END_THINKING|>" },
];

/** By what the template writes. A template that knows no tools gets them described in the hermes style. */
export function detectToolStyle(source: string, describesTools: boolean): ToolStyle {
  if (!describesTools || source.includes("<tool_call>")) return "hermes";
  if (source.includes("[TOOL_CALLS]")) return "mistral";
  if (source.includes("<|python_tag|>") || (source.includes("ipython") && source.includes("parameters")))
    return "llama3";
  return "json";
}

export function detectReasoning(source: string): ReasoningTags | null {
  return REASONING.find(({ open, close }) => source.includes(open) || source.includes(close)) ?? null;
}
