import {
  type ChatTemplate,
  type ChatTemplateOptions,
  openChatTemplate,
  type RenderedPrompt,
  type RenderRequest,
} from "../chat/index.ts";
import { NoodleError } from "../common/index.ts";
import type { RenderTask } from "./compile-task.ts";
import type { ServedModel } from "./served-model.ts";
import { TokenTexts, writeSpecial } from "./token-texts.ts";

const QUICK_RENDER_MS = 20;

/** A served model with what is made of it once. */
export class ModelEntry {
  readonly model: ServedModel;
  readonly texts: TokenTexts;
  readonly #template: ChatTemplate | NoodleError;
  #longestRenderMs = 0;

  constructor(model: ServedModel) {
    this.model = model;
    this.texts = new TokenTexts(model.tokenizer);
    this.#template = this.#openTemplate();
  }

  /** @throws TEMPLATE_FAILED where the model has none, or one that can't be read */
  get template(): ChatTemplate {
    if (this.#template instanceof NoodleError) throw this.#template;
    return this.#template;
  }

  /** Its template has never kept this thread. What comes with a model may be slow for some messages alone. */
  get isQuick(): boolean {
    return this.#longestRenderMs <= QUICK_RENDER_MS;
  }

  /** @throws TEMPLATE_FAILED, REQUEST_INVALID, NOT_SUPPORTED */
  render(request: RenderRequest): RenderedPrompt {
    const startMs = performance.now();
    try {
      return this.template.render(request);
    } finally {
      this.#longestRenderMs = Math.max(this.#longestRenderMs, performance.now() - startMs);
    }
  }

  /** The same for another thread. */
  describeRender(request: RenderRequest): RenderTask {
    return { kind: "render", source: this.model.chatTemplate ?? "", options: this.#options, request };
  }

  /** Opened before anybody asks: trying a bad one out takes a while. */
  #openTemplate(): ChatTemplate | NoodleError {
    try {
      return openChatTemplate(this.model.chatTemplate ?? undefined, this.#options);
    } catch (error) {
      return NoodleError.from(error);
    }
  }

  get #options(): ChatTemplateOptions {
    const { tokenizer } = this.model;
    return {
      bosToken: writeSpecial(tokenizer, tokenizer.bosId) ?? "",
      eosToken: writeSpecial(tokenizer, tokenizer.eosId) ?? "",
      controlTokens: [...tokenizer.specialTokens.values()],
    };
  }
}

/** The models that are served now, by id. */
export class ModelRegistry {
  #entries: ReadonlyMap<string, ModelEntry> = new Map();

  /** @throws USAGE for two of one id */
  serve(models: readonly ServedModel[]): void {
    const entries = new Map<string, ModelEntry>();
    for (const model of models) {
      if (entries.has(model.id)) throw new NoodleError("USAGE", `two models have the id ${model.id}`);
      const known = this.#entries.get(model.id);
      entries.set(model.id, known?.model === model ? known : new ModelEntry(model));
    }
    this.#entries = entries;
  }

  get models(): readonly ServedModel[] {
    return Array.from(this.#entries.values(), ({ model }) => model);
  }

  /**
   * The model of a request; where it names none, the only one.
   *
   * @throws CLUSTER_NOT_READY before there is any, MODEL_NOT_FOUND, REQUEST_INVALID when there are several to choose from
   */
  find(id: string | null | undefined): ModelEntry {
    const [first] = this.#entries.values();
    if (first === undefined) throw new NoodleError("CLUSTER_NOT_READY", "no model is served yet");
    const details = { param: "model" };
    if (id === undefined || id === null || id === "") {
      if (this.#entries.size === 1) return first;
      throw new NoodleError("REQUEST_INVALID", `model must be given: ${this.#list()} are served`, { details });
    }
    const entry = this.#entries.get(id);
    if (entry !== undefined) return entry;
    const name = JSON.stringify(id.slice(0, 128));
    throw new NoodleError("MODEL_NOT_FOUND", `the model ${name} is not served: there is ${this.#list()}`, { details });
  }

  #list(): string {
    return [...this.#entries.keys()].join(", ");
  }
}
