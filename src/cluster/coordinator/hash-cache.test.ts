import { mkdtemp, rm, utimes } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { ggmlTypeByName, openGguf, writeGguf } from "../../gguf/index.ts";
import { must } from "../../common/index.ts";
import type { ModelHashes } from "../../model/index.ts";
import type { HashRow } from "../../store/index.ts";
import { readModelHashes } from "./hash-cache.ts";

let dir = "";
let model = "";
const rows = new Map<string, HashRow>();
const store = {
  readHashes: (files: string): HashRow | null => rows.get(files) ?? null,
  writeHashes: (row: HashRow): void => void rows.set(row.files, row),
};
beforeEach(async () => {
  rows.clear();
  dir = await mkdtemp(join(tmpdir(), "noodle-hash-"));
  model = join(dir, "model.gguf");
  await writeModel(1);
});
afterEach(async () => {
  await rm(dir, { recursive: true, force: true });
});

async function writeModel(fill: number): Promise<void> {
  const type = must(ggmlTypeByName("f32"), "f32");
  await writeGguf(model, {
    metadata: new Map(),
    tensors: [{ name: "t", dims: [8], type, data: new Uint8Array(32).fill(fill) }],
  });
}

/** @returns the hashes, and whether the whole file was read for them */
async function hash(): Promise<{ hashes: ModelHashes; wasRead: boolean }> {
  await using file = await openGguf(model);
  let wasRead = false;
  const hashes = await readModelHashes(file, store, {
    onProgress: () => {
      wasRead = true;
    },
  });
  return { hashes, wasRead };
}

it("a model is read whole once, not again while it stays the same", async () => {
  const first = await hash();
  const second = await hash();
  expect([first.wasRead, second.wasRead]).toEqual([true, false]);
  expect(second.hashes).toEqual(first.hashes);
});

it("a model that was changed or touched is read again", async () => {
  const first = await hash();
  await writeModel(2);
  const changed = await hash();
  expect(changed.wasRead).toBe(true);
  expect(changed.hashes.sourceSha256).not.toBe(first.hashes.sourceSha256);
  expect(changed.hashes.headerSha256).toBe(first.hashes.headerSha256);
  await utimes(model, 1_000_000, 1_000_000);
  expect((await hash()).wasRead).toBe(true);
});

it.each([
  ["is no JSON", () => "{"],
  ["has a hash that is none", (text: string) => text.replace(/"sourceSha256":"[0-9a-f]/, '"sourceSha256":"x')],
  ["names other tensors", (text: string) => text.replace('"name":"t"', '"name":"u"')],
  ["belongs to another header", (text: string) => text.replace(/"headerSha256":"[0-9a-f]{4}/, '"headerSha256":"0000')],
])("an entry that %s is made anew", async (_how, damage) => {
  const { hashes } = await hash();
  const row = must([...rows.values()][0], "entry");
  rows.set(row.files, { ...row, hashes: damage(row.hashes) });
  const again = await hash();
  expect(again).toEqual({ hashes, wasRead: true });
  expect((await hash()).wasRead).toBe(false);
});
