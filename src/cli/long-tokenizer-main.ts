// Entry of the tokenizer's thread.
import { parentPort, workerData } from "node:worker_threads";
import { NoodleError } from "../common/index.ts";
import { loadEngine, Tokenizer } from "../engine/index.ts";
import type { TokenizerData, TokenizerReply, TokenizerRequest } from "./long-tokenizer.ts";

const { path, engine } = workerData as TokenizerData;
loadEngine(engine);
const tokenizer = Tokenizer.open(path);

parentPort?.on("message", ({ id, text, options }: TokenizerRequest) => {
  let reply: TokenizerReply;
  try {
    reply = { id, tokens: tokenizer.tokenize(text, options) };
  } catch (error) {
    reply = { id, error: NoodleError.from(error, "ENGINE_FAILED").toJSON() };
  }
  parentPort?.postMessage(reply, []);
});
