// What a model is made of, and how it would be cut: reads headers only, no engine and no weights.
import { fileURLToPath } from "node:url";
import { describeModel, openGguf, splitByBytes, stageBytes } from "noodlecore";

const path = process.argv[2] ?? fileURLToPath(new URL("../models/storyteller-q8_0.gguf", import.meta.url));
const file = await openGguf(path);
const model = describeModel(file.header, file.fileBytes);
await file.close();

console.log(`${model.name ?? path}: ${model.architecture}, ${model.quantization}, ${model.blockCount} blocks`);
const heaviest = model.units.toSorted((a, b) => b.bytes - a.bytes).slice(0, 3);
console.log(
  `heaviest units: ${heaviest.map((unit) => `${unit.name} (${(unit.bytes / 1e6).toFixed(2)} MB)`).join(", ")}`,
);
const kvBytes = model.units.reduce((sum, unit) => sum + unit.kvBytesPerToken, 0) * model.contextLength;
console.log(`keys and values of a full context: ${(kvBytes / 1e6).toFixed(1)} MB`);
for (let workers = 1; workers <= 4; workers++) {
  const stages = splitByBytes(model, workers).map(
    (units) => `${units.first}:${units.end} (${(stageBytes(model, units) / 1e6).toFixed(1)} MB)`,
  );
  console.log(`${workers} workers: ${stages.join("  ")}`);
}
