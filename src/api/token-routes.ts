import { NoodleError } from "../common/index.ts";
import { giveTurn } from "./give-turn.ts";
import type { z } from "zod";
import type { ModelEntry } from "./model-registry.ts";
import { requireIds, tokenizeText } from "./prompts.ts";
import { renderMessages } from "./render-messages.ts";
import type { RequestContext } from "./request-context.ts";
import type { TemplateRequest } from "./schemas/chat.ts";
import type {
  buildDetokenizeRequest,
  buildEmbeddingsRequest,
  DETOKENIZE_RESPONSE,
  MODEL,
  TOKENIZE_REQUEST,
  TOKENIZER_INFO,
} from "./schemas/others.ts";
import type { ServedModel } from "./served-model.ts";
import { writeSpecial } from "./token-texts.ts";

/** Tokens that are written before the event loop gets a turn. */
const TURN_TOKENS = 4096;

/** POST /tokenize: takes the fields of the two servers whose clients ask for it. @returns the JSON of the response */
export async function tokenize(context: RequestContext, body: z.infer<typeof TOKENIZE_REQUEST>): Promise<string> {
  const { model, texts } = context.registry.find(body.model);
  const text = body.content ?? body.prompt ?? "";
  const isPrompt = typeof body.prompt === "string";
  const tokens = await tokenizeText(model, text, {
    addSpecial: body.add_special_tokens ?? body.add_special ?? isPrompt,
    parseSpecial: body.parse_special ?? true,
  });
  const { tokenIds } = context.limits;
  if (body.with_pieces === true && tokens.length > tokenIds) {
    const text = `the text has ${tokens.length} tokens, the limit is ${tokenIds} with with_pieces`;
    throw new NoodleError("LIMIT_EXCEEDED", text, { details: { param: "with_pieces", limit: tokenIds } });
  }
  const written: string[] = [];
  for (let at = 0; at < tokens.length; at += TURN_TOKENS) {
    const part = tokens.slice(at, at + TURN_TOKENS);
    const listed = body.with_pieces === true ? part.map((id) => ({ id, piece: writePiece(texts.bytes(id)) })) : part;
    written.push(JSON.stringify(listed).slice(1, -1));
    await giveTurn();
  }
  return `{"tokens":[${written.join(",")}],"count":${tokens.length},"max_model_len":${model.contextTokens}}`;
}

/** Text, or the bytes of what is no whole text. */
function writePiece(bytes: Uint8Array): string | number[] {
  const text = Buffer.from(bytes).toString("utf8");
  return text.includes("\ufffd") ? [...bytes] : text;
}

/** POST /detokenize. */
export async function detokenize(
  context: RequestContext,
  body: z.infer<ReturnType<typeof buildDetokenizeRequest>>,
): Promise<z.infer<typeof DETOKENIZE_RESPONSE>> {
  const { model, texts } = context.registry.find(body.model);
  requireIds(model, body.tokens, "tokens");
  const text = await texts.detokenize(body.tokens, true);
  return { prompt: text, content: text };
}

/** POST /apply-template. */
export async function applyTemplate(
  context: RequestContext,
  body: TemplateRequest,
): Promise<{ readonly prompt: string }> {
  return { prompt: (await renderMessages(context, context.registry.find(body.model), body)).text };
}

/** GET /tokenizer_info. */
export function describeTokenizer({ model }: ModelEntry): z.infer<typeof TOKENIZER_INFO> {
  const { tokenizer } = model;
  const eos = writeSpecial(tokenizer, tokenizer.eosId);
  return {
    vocab_size: tokenizer.vocabSize,
    model_max_length: model.contextTokens,
    bos_token: writeSpecial(tokenizer, tokenizer.bosId),
    eos_token: eos,
    // Those who ask for it pad with what ends a text, as most models without a token of its own do.
    pad_token: eos,
    bos_token_id: tokenizer.bosId < 0 ? null : tokenizer.bosId,
    eos_token_id: tokenizer.eosId < 0 ? null : tokenizer.eosId,
    chat_template: model.chatTemplate,
  };
}

/** One entry of GET /v1/models. */
export function describeModel(model: ServedModel): z.infer<typeof MODEL> {
  const { facts } = model;
  return {
    id: model.id,
    object: "model",
    created: model.created,
    owned_by: "noodlecore",
    max_model_len: model.contextTokens,
    meta: {
      architecture: facts.architecture,
      n_params: facts.parameters,
      n_layer: facts.blocks,
      n_embd: facts.embeddingLength,
      n_vocab: model.tokenizer.vocabSize,
      n_ctx: model.contextTokens,
      n_ctx_train: model.trainedContextTokens,
      size: facts.fileBytes,
      quantization: facts.quantization,
    },
  };
}

/** POST /v1/embeddings. @throws NOT_SUPPORTED: no model that is served is one for embeddings */
export function embed(context: RequestContext, body: z.infer<ReturnType<typeof buildEmbeddingsRequest>>): never {
  const { model } = context.registry.find(body.model);
  throw new NoodleError("NOT_SUPPORTED", `${model.id} generates text, it is no model for embeddings`, {
    details: { param: "model" },
  });
}
