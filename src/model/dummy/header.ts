import { encodeGgufHeader, type GgufHeader, parseGgufHeader } from "../../gguf/index.ts";
import { compileDummyOptions, type DummyOptions } from "./options.ts";
import { planDummy } from "./plan.ts";

/**
 * The header that a dummy's file would have, without the file: for questions about a shape that need no weights.
 *
 * @throws as `compileDummyOptions` and `planDummy`
 */
export function makeDummyHeader(options: DummyOptions): GgufHeader {
  const { metadata, tensors } = planDummy(compileDummyOptions(options));
  const { header, dataBytes } = encodeGgufHeader({
    version: 3,
    byteOrder: "little",
    alignment: 32,
    metadata,
    tensors,
  });
  return parseGgufHeader(header, header.length + dataBytes);
}
