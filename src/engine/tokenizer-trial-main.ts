// Child process of the tokenizer's trial: uses every part that a coordinator uses, and exits 0 if it lives.
import { loadEngine } from "./engine.ts";
import { Tokenizer } from "./tokenizer.ts";
import type { TokenizerTrial } from "./tokenizer-trial.ts";

const { path, engine } = JSON.parse(process.argv[2] ?? "{}") as TokenizerTrial;
loadEngine({ ...engine, log: true });
const tokenizer = Tokenizer.open(path);
// Every byte that UTF-8 text may hold, alone and in words: vocabularies without some of them fail only when they are met.
const scripts = Array.from({ length: 0x500 }, (_, point) => String.fromCodePoint(point)).join("");
for (const text of ["Hello, world! 1234\n\t", scripts, "𐍈 中文 한국어 🍜\u0000\uFFFD", " ".repeat(300)]) {
  tokenizer.detokenize(tokenizer.tokenize(text, { parseSpecial: true }));
}
for (let id = 0; id < tokenizer.vocabSize; id++) {
  tokenizer.pieceBytes(id);
  tokenizer.tokenText(id);
  tokenizer.isEndOfGeneration(id);
}
tokenizer.specialTokens();
tokenizer.close();
process.exit(0);
