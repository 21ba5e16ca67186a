import type { GenerateEvent, GenerateRequest } from "../cluster/coordinator/index.ts";
import { NoodleError } from "../common/index.ts";
import type { Readiness, ServedModel, ServedTokenizer, TokenizeOptions } from "./served-model.ts";

const BOS = 256;
const EOS = 257;
const SPECIAL_TOKENS: ReadonlyMap<number, string> = new Map([
  [BOS, "<|begin|>"],
  [EOS, "<|im_end|>"],
  [258, "<|im_start|>"],
]);

const CHATML =
  "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/** A token for each byte, three special ones, and begin-of-text in front. */
export class ByteTokenizer implements ServedTokenizer {
  readonly vocabSize = 259;
  readonly bosId = BOS;
  readonly eosId = EOS;
  readonly specialTokens = SPECIAL_TOKENS;

  tokenize(text: string, options: TokenizeOptions): Int32Array {
    const ids: number[] = options.addSpecial ? [BOS] : [];
    const pieces = options.parseSpecial ? text.split(/(<\|begin\|>|<\|im_end\|>|<\|im_start\|>)/) : [text];
    for (const piece of pieces) {
      const special = options.parseSpecial ? [...SPECIAL_TOKENS].find(([, written]) => written === piece) : undefined;
      if (special === undefined) ids.push(...Buffer.from(piece));
      else ids.push(special[0]);
    }
    return Int32Array.from(ids);
  }

  async tokenizeLong(text: string, options: TokenizeOptions): Promise<Int32Array> {
    return this.tokenize(text, options);
  }

  pieceBytes(tokenId: number): Uint8Array {
    return tokenId < BOS ? Uint8Array.of(tokenId) : new Uint8Array();
  }

  isEndOfGeneration(tokenId: number): boolean {
    return tokenId === EOS;
  }
}

export interface FakeModelOptions {
  readonly id?: string;
  readonly contextTokens?: number;
  readonly chatTemplate?: string | null;
  /** @default one that knows bytes */
  readonly tokenizer?: ServedTokenizer;
  /** What it says to a prompt. @default the prompt's last 8 bytes in reverse, and so for ever */
  readonly reply?: (prompt: string, request: GenerateRequest) => string;
  /** Waited for before each token. @default nothing */
  readonly beforeToken?: (index: number, signal: AbortSignal) => Promise<void>;
  /** Thrown instead of anything: by the call, or behind so many tokens. */
  readonly failure?: { readonly error: Error; readonly afterTokens?: number };
}

/** A model without a cluster: deterministic text, all kinds of events, and a record of what was asked of it. */
export class FakeServedModel implements ServedModel {
  readonly id: string;
  readonly created = 1_700_000_000;
  readonly contextTokens: number;
  readonly trainedContextTokens = 4096;
  readonly embeddings = false;
  readonly tokenizer: ServedTokenizer;
  readonly chatTemplate: string | null;
  readonly facts = {
    architecture: "fake",
    parameters: 1000,
    blocks: 2,
    embeddingLength: 8,
    fileBytes: 4096,
    quantization: "F32",
  };
  readonly requests: GenerateRequest[] = [];
  readiness_: Readiness = { status: "ready", reason: null };
  /** Generations that run, that ended by themselves, and that were cancelled. */
  running = 0;
  finished = 0;
  cancelled = 0;
  options: FakeModelOptions;

  constructor(options: FakeModelOptions = {}) {
    this.options = options;
    this.id = options.id ?? "fake-model";
    this.tokenizer = options.tokenizer ?? new ByteTokenizer();
    this.contextTokens = options.contextTokens ?? 2048;
    this.chatTemplate = options.chatTemplate === undefined ? CHATML : options.chatTemplate;
  }

  readiness(): Readiness {
    return this.readiness_;
  }

  status(): object {
    return { schema: "noodle.status.v1", model: this.id };
  }

  async *generate(request: GenerateRequest, signal: AbortSignal): AsyncGenerator<GenerateEvent, void, undefined> {
    this.requests.push(request);
    const { failure, beforeToken } = this.options;
    if (failure !== undefined && failure.afterTokens === undefined) throw failure.error;
    const prompt = this.#ids(request);
    this.running += 1;
    let isWhole = false;
    try {
      const sessionId = this.requests.length.toString(16).padStart(32, "0");
      yield { type: "started", sessionId, promptTokenIds: prompt, cachedTokens: 0, queueMs: 1 };
      const alternatives = request.promptLogprobs ?? null;
      if (alternatives !== null) {
        yield { type: "prompt", logprobs: prompt.slice(1).map((id) => fakeLogprobs(id, alternatives)) };
      }
      const { tokens, stopText } = this.#choose(request, prompt);
      for (const [index, token] of tokens.entries()) {
        if (failure !== undefined && index === failure.afterTokens) throw failure.error;
        await beforeToken?.(index, signal);
        if (signal.aborted) throw new NoodleError("INTERRUPTED", "the generation was cancelled");
        const top = request.topLogprobs ?? null;
        const logprobs = top === null ? null : fakeLogprobs(token.id, top);
        yield { type: "token", index, tokenId: token.id, text: token.text, logits: null, logprobs };
      }
      isWhole = true;
      const endsItself = tokens.at(-1)?.id === EOS && request.ignoreEos !== true;
      yield {
        type: "done",
        finishReason: endsItself || stopText !== null ? "stop" : "length",
        stopText,
        generatedTokens: tokens.length,
        queueMs: 1,
        prefillMs: 20,
        decodeMs: 10 * Math.max(0, tokens.length - 1),
        cachedTokens: 0,
        notes: [],
        ttftMs: 21,
        decodeTokensPerSec: 100,
        stages: [fakeStage("worker-1", 0, 2, 3), fakeStage("worker-2", 2, 4, 1)],
        kv: [],
        stepRows: [],
      };
    } finally {
      this.running -= 1;
      if (isWhole) this.finished += 1;
      else this.cancelled += 1;
    }
  }

  #ids(request: GenerateRequest): readonly number[] {
    const { prompt } = request;
    if (typeof prompt !== "string") return prompt;
    return [...this.tokenizer.tokenize(prompt, { addSpecial: true, parseSpecial: false })];
  }

  /** The tokens of the reply, up to the limit, the stop text or the end. */
  #choose(
    request: GenerateRequest,
    prompt: readonly number[],
  ): { readonly tokens: readonly { readonly id: number; readonly text: string }[]; readonly stopText: string | null } {
    const text = Buffer.from(prompt.filter((id) => id < BOS)).toString("utf8");
    const { reply } = this.options;
    const whole = reply?.(text, request) ?? Array.from(text).slice(-8).toReversed().join("").repeat(request.maxTokens);
    const ids = [...Buffer.from(whole), EOS].slice(0, request.maxTokens);
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    const tokens: { readonly id: number; readonly text: string }[] = [];
    let said = "";
    for (const id of ids) {
      const piece = decoder.decode(this.tokenizer.pieceBytes(id), { stream: true });
      const stopText = (request.stop ?? []).find((stop: string) => (said + piece).endsWith(stop)) ?? null;
      said += piece;
      tokens.push({ id, text: stopText === null ? piece : "" });
      if (stopText !== null) return { tokens: takeBack(tokens, stopText.length - piece.length), stopText };
    }
    return { tokens, stopText: null };
  }
}

/** Takes the characters of a stop text out of the tokens that it began in. */
function takeBack(
  tokens: readonly { readonly id: number; readonly text: string }[],
  characters: number,
): { readonly id: number; readonly text: string }[] {
  let left = characters;
  return tokens
    .toReversed()
    .map(({ id, text }) => {
      const kept = text.slice(0, Math.max(0, text.length - left));
      left -= text.length - kept.length;
      return { id, text: kept };
    })
    .toReversed();
}

/** The likelier the lower its id; the alternatives are those just above it. */
export function fakeLogprobs(tokenId: number, alternatives: number) {
  const logprob = -tokenId / 100;
  const top = Array.from({ length: alternatives }, (_, place) => ({
    tokenId: (tokenId + place) % 256,
    logprob: logprob - place / 10,
  }));
  return { tokenId, logprob, top };
}

function fakeStage(name: string, first: number, end: number, computeMs: number) {
  return {
    nodeId: `id-of-${name}`,
    name,
    units: { first, end },
    computeMsP50: computeMs,
    queueMsP50: 0.5,
    hopMsP50: null,
    weightsBytes: 100,
    rssBytes: 1000,
  };
}

/** Data of the events of a stream, in order; comments are left out. */
export function readEventData(text: string): string[] {
  return readEvents(text).map(({ data }) => data);
}

/** Events of a stream with their ids. @throws Error for what is no event */
export function readEvents(text: string): { readonly id: string | null; readonly data: string }[] {
  const blocks = text.split("\n\n").filter((block) => block !== "" && !block.startsWith(":"));
  return blocks.map((block) => {
    const match = /^(?:id: (\S+)\n)?data: (.*)$/.exec(block);
    if (match === null) throw new Error(`no event: ${block}`);
    return { id: match[1] ?? null, data: match[2] ?? "" };
  });
}
