import { openChatOutput } from "./chat-output.ts";
import type { ParsedToolCall } from "./read-call.ts";
import type { ToolStyle } from "./types.ts";

export interface ParsedOutput {
  readonly content: string;
  readonly toolCalls: readonly ParsedToolCall[];
}

/** Takes a whole text apart. @param toolNames a call of any other name is plain text @default any name */
export function parseToolCalls(text: string, style: ToolStyle, toolNames?: readonly string[]): ParsedOutput {
  const output = openChatOutput({
    toolStyle: style,
    reasoning: null,
    ...(toolNames === undefined ? {} : { toolNames }),
  });
  const pieces = [...output.push(text), ...output.end()];
  return {
    content: pieces.map((piece) => (piece.type === "content" ? piece.text : "")).join(""),
    toolCalls: pieces.flatMap((piece) =>
      piece.type === "tool_call" ? [{ name: piece.name, arguments: piece.arguments }] : [],
    ),
  };
}
