/** Damaged model files, built in code: the smallest file that shows the damage. */

const U32 = 4;
const STRING = 8;
const TYPE_F32 = 0;

interface PlainTensor {
  readonly name: string;
  readonly dims: readonly number[];
  /** Within the data section. */
  readonly offset: number;
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function u64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return bytes;
}

function text(value: string): Buffer {
  return Buffer.concat([u64(BigInt(Buffer.byteLength(value))), Buffer.from(value)]);
}

function buildFile(
  tensors: readonly PlainTensor[],
  counts: { readonly tensors?: bigint; readonly keys?: bigint } = {},
): Buffer {
  const header = Buffer.concat([
    Buffer.from("GGUF"),
    u32(3),
    u64(counts.tensors ?? BigInt(tensors.length)),
    u64(counts.keys ?? 2n),
    text("general.architecture"),
    u32(STRING),
    text("llama"),
    text("llama.block_count"),
    u32(U32),
    u32(1),
    ...tensors.map(({ name, dims, offset }) =>
      Buffer.concat([
        text(name),
        u32(dims.length),
        ...dims.map((dim) => u64(BigInt(dim))),
        u32(TYPE_F32),
        u64(BigInt(offset)),
      ]),
    ),
  ]);
  const padded = Math.ceil(header.length / 32) * 32;
  return Buffer.concat([header, Buffer.alloc(padded - header.length), Buffer.alloc(4096)]);
}

const SOUND: readonly PlainTensor[] = [
  { name: "token_embd.weight", dims: [32, 4], offset: 0 },
  { name: "output_norm.weight", dims: [32], offset: 512 },
];

function wrongEndian(): Buffer {
  const bytes = buildFile(SOUND);
  bytes.writeUInt32BE(3, 4);
  return bytes;
}

/** Damage, the file's bytes, and the error that names it. */
export const BAD_FILES: readonly (readonly [string, Buffer, string])[] = [
  ["empty", Buffer.alloc(0), "GGUF_TRUNCATED"],
  ["cut off in the header", buildFile(SOUND).subarray(0, 60), "GGUF_TRUNCATED"],
  ["cut off in the data", buildFile(SOUND).subarray(0, -4000), "GGUF_TRUNCATED"],
  ["of another format", Buffer.from("PK\u0003\u0004 this is an archive, not a model".padEnd(4096)), "GGUF_BAD_MAGIC"],
  ["of the other byte order", wrongEndian(), "GGUF_WRONG_ENDIAN"],
  ["with a header of too many tensors", buildFile(SOUND, { tensors: 1n << 40n }), "GGUF_LIMIT_EXCEEDED"],
  ["with a header of too many keys", buildFile(SOUND, { keys: 1n << 62n }), "GGUF_LIMIT_EXCEEDED"],
  [
    "with tensors that overlap",
    buildFile([
      { name: "token_embd.weight", dims: [32, 4], offset: 0 },
      { name: "output_norm.weight", dims: [32], offset: 256 },
    ]),
    "GGUF_MALFORMED",
  ],
  [
    "with a tensor of absurd size",
    buildFile([{ name: "token_embd.weight", dims: [1 << 30, 1 << 30, 1 << 30], offset: 0 }]),
    "GGUF_MALFORMED",
  ],
];
