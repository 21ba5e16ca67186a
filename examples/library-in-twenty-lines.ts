// The library in twenty lines: the whole bundled model as one stage in this process, decoding greedily.
import { fileURLToPath } from "node:url";
import { GREEDY, openStage, Tokenizer } from "noodlecore";

const path = fileURLToPath(new URL("../models/storyteller-q8_0.gguf", import.meta.url));
using tokenizer = Tokenizer.open(path);
const stage = await openStage({ stageFile: path, contextTokens: 512, parallel: 1, threads: 1 });
stage.openSlot(0, GREEDY);
let tokens = tokenizer.tokenize("Once upon a time");
process.stdout.write("Once upon a time");
for (let count = 0; count < 40; count++) {
  const run = { slot: 0, position: stage.nextPosition(0), rows: tokens.length, output: "last" as const };
  const [next] = stage.forward({ runs: [run], tokens, hidden: null }).sampled;
  if (next === undefined || tokenizer.isEndOfGeneration(next.tokenId)) break;
  process.stdout.write(tokenizer.pieceBytes(next.tokenId));
  tokens = Int32Array.of(next.tokenId);
}
process.stdout.write("\n");
stage.close();
