import type { ServedModel } from "../api/index.ts";
import type { Coordinator } from "../cluster/coordinator/index.ts";
import type { LoadOptions, Tokenizer } from "../engine/index.ts";
import { LongTokenizer } from "./long-tokenizer.ts";
import type { ModelFile } from "./model-file.ts";

export interface ServedModelParts {
  readonly id: string;
  readonly file: ModelFile;
  readonly coordinator: Coordinator;
  /** Stays the caller's, and open for as long as the model is served. */
  readonly tokenizer: Tokenizer;
  /** Instead of that of the file. */
  readonly chatTemplate: string | null;
  /** How this process has loaded its engine. */
  readonly engine: LoadOptions;
}

/** A coordinator as the API asks it. Close it when the API has ended. */
export class CoordinatedModel implements Disposable {
  readonly served: ServedModel;
  readonly #long: LongTokenizer;

  constructor({ id, file, coordinator, tokenizer, chatTemplate, engine }: ServedModelParts) {
    const { model } = file;
    const long = new LongTokenizer({ path: file.path, engine });
    this.#long = long;
    this.served = {
      id,
      created: file.changed,
      contextTokens: coordinator.contextTokens,
      trainedContextTokens: model.contextLength === 0 ? null : model.contextLength,
      facts: {
        architecture: model.architecture,
        parameters: model.parameters,
        blocks: model.units.length - 2,
        embeddingLength: model.embeddingLength,
        fileBytes: model.fileBytes,
        quantization: model.quantization,
      },
      embeddings: false,
      tokenizer: {
        vocabSize: tokenizer.vocabSize,
        bosId: tokenizer.bosId,
        eosId: tokenizer.eosId,
        specialTokens: file.specialTokens,
        tokenize: (text, options) => tokenizer.tokenize(text, options),
        tokenizeLong: (text, options) => long.tokenize(text, options),
        pieceBytes: (tokenId) => tokenizer.pieceBytes(tokenId),
        isEndOfGeneration: (tokenId) => tokenizer.isEndOfGeneration(tokenId),
      },
      chatTemplate: chatTemplate ?? file.chatTemplate,
      readiness: () => {
        const { status, reason } = coordinator.status().health;
        return { status, reason };
      },
      status: () => coordinator.status(),
      replies: {
        claim: (key) => coordinator.journaled.claimReply(key),
        keep: (key, reply) => coordinator.journaled.keepReply(key, reply),
      },
      interrupted: () => coordinator.journaled.list(),
      resume: (sessionId, end) => coordinator.journaled.goOn(sessionId, end),
      abandon: (sessionId) => coordinator.journaled.abandon(sessionId),
      generate: (request, signal) => coordinator.generate(request, signal),
    };
  }

  [Symbol.dispose](): void {
    this.#long.close();
  }
}
