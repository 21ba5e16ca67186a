export { generateDummy, type GenerateDummyControl } from "./generate.ts";
export type { DummyOptions } from "./options.ts";
export { makeDummyHeader } from "./header.ts";
export { pickBlocks, writeSyntheticStage } from "./like-header.ts";
export { DUMMY_SHAPES, type DummyShape } from "./shapes.ts";
