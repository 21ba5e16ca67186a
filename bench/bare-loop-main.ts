// The bare loop in a process of its own: it blocks, and the coordinator beside it must not.
import { BareLoop } from "./bare-loop.ts";

export interface BareLoopOrder {
  readonly prompt: readonly number[];
  readonly count: number;
}

const [path = "", threads = "1", contextTokens = "1024"] = process.argv.slice(2);
const loop = new BareLoop(path, { threads: Number(threads), contextTokens: Number(contextTokens) });
process.on("message", ({ prompt, count }: BareLoopOrder) => process.send?.(loop.run(Int32Array.from(prompt), count)));
process.on("disconnect", () => process.exit(0));
process.send?.("ready");
