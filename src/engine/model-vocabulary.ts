import { Vocabulary } from "./gbnf/index.ts";
import type { Library, Pointer } from "./native/index.ts";

/** Bytes of one token as text. Control tokens give none unless `special`. */
export function readPiece({ calls }: Library, vocab: Pointer, tokenId: number, special: boolean): Uint8Array {
  let buffer = new Uint8Array(64);
  let length = calls.llama_token_to_piece(vocab, tokenId, buffer, buffer.length, 0, special);
  if (length < 0) {
    buffer = new Uint8Array(-length);
    length = calls.llama_token_to_piece(vocab, tokenId, buffer, buffer.length, 0, special);
  }
  return buffer.slice(0, Math.max(0, length));
}

/** All tokens of a model as a grammar sees them. Control tokens and a zero byte are not text. */
export function readVocabulary(library: Library, vocab: Pointer): Vocabulary {
  const { calls } = library;
  const ids = Array.from({ length: calls.llama_vocab_n_tokens(vocab) }, (_, id) => id);
  const pieces = ids.map((id) => {
    const piece = calls.llama_vocab_is_control(vocab, id) ? undefined : readPiece(library, vocab, id, false);
    return piece === undefined || piece[0] === 0 ? new Uint8Array() : piece;
  });
  return new Vocabulary(
    pieces,
    ids.filter((id) => calls.llama_vocab_is_eog(vocab, id)),
  );
}
