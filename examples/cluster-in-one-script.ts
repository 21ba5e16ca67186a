// A cluster in one script: a coordinator in this process, two worker processes, one story through both of them.
import { fileURLToPath } from "node:url";
import { LocalCluster, Tokenizer } from "noodlecore";

const model = fileURLToPath(new URL("../models/storyteller-q8_0.gguf", import.meta.url));
const entry = fileURLToPath(import.meta.resolve("noodlecore/cli"));
const { signal } = new AbortController();

using tokenizer = Tokenizer.open(model);
await using cluster = await LocalCluster.start({ model, tokenizer, workers: 2, entry, threads: 1 }, { signal });
for (const { name, units, pid } of cluster.coordinator.status().nodes) {
  console.log(`${name}, process ${pid}, holds the units ${units}`);
}
const prompt = "The old woman went into the forest and";
process.stdout.write(`\n${prompt}`);
for await (const event of cluster.coordinator.generate({ prompt, maxTokens: 60 }, signal)) {
  if (event.type === "token") process.stdout.write(event.text);
  if (event.type !== "done") continue;
  console.log(`\n\n${event.decodeTokensPerSec.toFixed(0)} tokens/s`);
  for (const stage of event.stages) {
    console.log(`${stage.name}: ${stage.computeMsP50.toFixed(2)} ms of computing for each token`);
  }
}
