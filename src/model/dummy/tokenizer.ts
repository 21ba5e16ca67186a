import type { GgufValue } from "../../gguf/index.ts";
import { array, bool, text, uint32 } from "../architectures/index.ts";

/** Byte tokens and the two special ones. */
export const MIN_VOCAB_SIZE = 258;

const BYTE_TOKENS = 256;
const TOKEN_TYPE_NORMAL = 1;
const TOKEN_TYPE_CONTROL = 3;

/** Frequent letters of English first, the space of byte-level vocabularies before them. */
const MERGED_LETTERS = "Ġetaoinshrdlucmwfgypbvkjxqz".split("");

/**
 * A byte-level BPE vocabulary of any size: every byte has a token, so every text has one way in and the same way out;
 * the rest are runs of letters, each made by one merge from the run without its last letter.
 */
export function makeTokenizer(vocabSize: number): Map<string, GgufValue> {
  const tokens = [...listByteTokens(), "<|bos|>", "<|eos|>"];
  const merges: string[] = [];
  let runs: readonly string[] = MERGED_LETTERS;
  while (tokens.length < vocabSize) {
    const longer: string[] = [];
    for (const run of runs) {
      for (const letter of MERGED_LETTERS) {
        if (tokens.length >= vocabSize) break;
        merges.push(`${run} ${letter}`);
        tokens.push(run + letter);
        longer.push(run + letter);
      }
    }
    runs = longer;
  }
  const types = tokens.map((_, id) =>
    id === BYTE_TOKENS || id === BYTE_TOKENS + 1 ? TOKEN_TYPE_CONTROL : TOKEN_TYPE_NORMAL,
  );
  return new Map([
    ["tokenizer.ggml.model", text("gpt2")],
    ["tokenizer.ggml.pre", text("gpt-2")],
    ["tokenizer.ggml.tokens", array("string", tokens)],
    ["tokenizer.ggml.token_type", array("int32", types)],
    ["tokenizer.ggml.merges", array("string", merges)],
    ["tokenizer.ggml.bos_token_id", uint32(BYTE_TOKENS)],
    ["tokenizer.ggml.eos_token_id", uint32(BYTE_TOKENS + 1)],
    ["tokenizer.ggml.add_bos_token", bool(false)],
  ]);
}

/**
 * GPT-2's letters for bytes: printable ones stand for themselves, the others for letters from U+0100 on, in order.
 */
function listByteTokens(): string[] {
  let next = 0x100;
  return Array.from({ length: BYTE_TOKENS }, (_, byte) => {
    const isPrintable = (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);
    return String.fromCodePoint(isPrintable ? byte : next++);
  });
}
