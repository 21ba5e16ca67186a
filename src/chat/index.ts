export { type ChatOutput, type ChatOutputOptions, openChatOutput, type OutputPiece } from "./chat-output.ts";
export { openChatTemplate } from "./chat-template.ts";
export { DEFAULT_CHAT_TEMPLATE } from "./default-template.ts";
export { allowReasoning, toolGrammar, type ToolGrammarOptions } from "./tool-grammar.ts";
export type { ParsedToolCall } from "./read-call.ts";
export { type ParsedOutput, parseToolCalls } from "./tool-calls.ts";
export type {
  ChatMessage,
  ChatRole,
  ChatTemplate,
  ChatTemplateOptions,
  ContentPart,
  PromptSegment,
  ReasoningTags,
  RenderedPrompt,
  RenderRequest,
  ToolCall,
  ToolChoice,
  ToolDefinition,
  ToolStyle,
} from "./types.ts";
