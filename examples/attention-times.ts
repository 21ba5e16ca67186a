// The time of each attention block in ten lines: a prompt of four tokens, then one token.
import { GREEDY, openStage } from "noodlecore/engine";
import { HookRegistry } from "noodlecore/observe";

const stageFile = process.argv[2] ?? "models/storyteller-q8_0.gguf";
const hooks = new HookRegistry();
hooks.post("blocks.*.attn.out", ({ phase, point, durationNs }) => console.log(phase, point, durationNs / 1e6, "ms"));
const stage = await openStage({ stageFile, contextTokens: 512, parallel: 1, threads: 1 }, { hooks });
stage.openSlot(0, GREEDY);
for (const tokens of [Int32Array.of(5, 6, 7, 8), Int32Array.of(9)]) {
  const run = { slot: 0, position: stage.nextPosition(0), rows: tokens.length, output: "last" as const };
  stage.forward({ runs: [run], tokens, hidden: null }, { observe: "role" });
}
stage.close();
