import { expect, it } from "vitest";
import { NoodleError } from "../../common/index.ts";
import { compileCoordinatorOptions, type CoordinatorOptions } from "./options.ts";

const REQUIRED: CoordinatorOptions = {
  model: "m.gguf",
  dataDir: "d",
  expect: 2,
  tokenizer: {
    vocabSize: 1,
    tokenize: () => new Int32Array(),
    pieceBytes: () => new Uint8Array(),
    isEndOfGeneration: () => false,
  },
};

it("defaults are loopback, port 7421, eight sessions and a lease of three seconds", () => {
  const compiled = compileCoordinatorOptions(REQUIRED);
  expect(compiled).toMatchObject({ host: "127.0.0.1", grpcPort: 7421, parallel: 8, leaseMs: 3000 });
  expect(compiled).toMatchObject({
    determinism: "recorded",
    queue: { total: 16, perClient: 4 },
    readerStallMs: 30_000,
  });
  expect(compiled).toMatchObject({ prefillRows: null, mixedPrefillRows: null, decodeInFlight: null });
  expect(compiled.prefixCacheBytes).toBe(Number.POSITIVE_INFINITY);
  expect(compiled.contextTokens).toBeNull();
});

it("rows of a chunk are within what a stage takes", () => {
  expect(compileCoordinatorOptions({ ...REQUIRED, maxRows: 64, prefillRows: 64 }).prefillRows).toBe(64);
  expect(() => compileCoordinatorOptions({ ...REQUIRED, maxRows: 64, prefillRows: 65 })).toThrow(NoodleError);
  expect(() => compileCoordinatorOptions({ ...REQUIRED, maxRows: 64, mixedPrefillRows: 65 })).toThrow(NoodleError);
});

it.each([
  { expect: 0 },
  { queue: -1 },
  { decodeInFlight: 0 },
  { prefixCacheBytes: -1 },
  { expect: 1.5 },
  { contextTokens: 1 },
  { parallel: 0 },
  { grpcPort: 65_536 },
  { threads: -1 },
])("%o is refused as wrong usage", (wrong) => {
  let code = "";
  try {
    compileCoordinatorOptions({ ...REQUIRED, ...wrong });
  } catch (error) {
    code = NoodleError.from(error).code;
  }
  expect(code).toBe("USAGE");
});
