import {
  type ChatTemplate,
  type ChatTemplateOptions,
  openChatTemplate,
  type RenderedPrompt,
  type RenderRequest,
  toolGrammar,
  type ToolDefinition,
  type ToolGrammarOptions,
} from "../chat/index.ts";
import { checkGrammar, compileJsonSchema } from "../grammar/index.ts";

/** What a request may make us work for: text that comes from outside, and takes as long as its sender likes. */
export type CompileTask =
  | { readonly kind: "schema"; readonly schema: unknown }
  | { readonly kind: "grammar"; readonly grammar: string }
  | { readonly kind: "tools"; readonly tools: readonly ToolDefinition[]; readonly options: ToolGrammarOptions };

export interface RenderTask {
  readonly kind: "render";
  readonly source: string;
  readonly options: ChatTemplateOptions;
  readonly request: RenderRequest;
}

/** GBNF; null for tools that need none. @throws GRAMMAR_INVALID, REQUEST_INVALID */
export function runCompileTask(task: CompileTask): string | null {
  switch (task.kind) {
    case "schema":
      return compileJsonSchema(task.schema);
    case "grammar":
      checkGrammar(task.grammar);
      return task.grammar;
    case "tools":
      return toolGrammar(task.tools, task.options) ?? null;
  }
}

/** The template that was used last, by what it was opened with. */
let lastTemplate: { readonly key: string; readonly template: ChatTemplate } | undefined;

/** @throws TEMPLATE_FAILED, REQUEST_INVALID, NOT_SUPPORTED */
export function runRenderTask({ source, options, request }: RenderTask): RenderedPrompt {
  const key = JSON.stringify([source, options]);
  if (lastTemplate?.key !== key) lastTemplate = { key, template: openChatTemplate(source, options) };
  return lastTemplate.template.render(request);
}
