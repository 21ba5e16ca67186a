import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { generateDummy } from "../model/index.ts";
import { readModelHeader } from "./header-only.ts";

describe("readModelHeader", () => {
  let folder: string;
  let whole: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "noodle-header-"));
    whole = join(folder, "whole.gguf");
    await generateDummy({ layers: 2, vocab: 300 }, whole);
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  /** The first bytes of the model, as an interrupted download leaves them. */
  async function cutOff(bytes: number): Promise<string> {
    const path = join(folder, `${bytes}.gguf`);
    const source = await open(whole, "r");
    const target = await open(path, "w");
    const data = new Uint8Array(bytes);
    await source.read(data, 0, bytes, 0);
    await target.write(data);
    await Promise.all([source.close(), target.close()]);
    return path;
  }

  it("reads the same from a file whose weights are missing, in part or all", async () => {
    const complete = await readModelHeader(whole);
    const shard = complete.header.shards[0];
    for (const bytes of [shard?.headerBytes ?? 0, (shard?.dataOffset ?? 0) + 1000]) {
      const partial = await readModelHeader(await cutOff(bytes));
      expect(partial.headerSha256).toBe(complete.headerSha256);
      expect(partial.fileBytes).toBe(bytes);
      expect(partial.header.tensors.map(({ name }) => name)).toEqual(complete.header.tensors.map(({ name }) => name));
      expect(partial.header.metadata).toEqual(complete.header.metadata);
    }
  });

  it("refuses a header that is itself cut off", async () => {
    const path = await cutOff(500);
    await expect(readModelHeader(path)).rejects.toMatchObject({ code: "GGUF_TRUNCATED" });
  });

  it("passes on what is wrong with a file otherwise", async () => {
    await expect(readModelHeader(join(folder, "none.gguf"))).rejects.toMatchObject({ code: "FILE_NOT_FOUND" });
  });
});
