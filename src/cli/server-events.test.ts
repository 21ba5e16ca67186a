import { expect, test } from "vitest";
import { readServerEvents } from "./server-events.ts";

async function read(bytes: Uint8Array, pieceBytes: number): Promise<readonly string[]> {
  async function* cut(): AsyncGenerator<Uint8Array> {
    for (let at = 0; at < bytes.length; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes);
  }
  const found: string[] = [];
  for await (const data of readServerEvents(cut())) found.push(data);
  return found;
}

const TEXT =
  ': ping\n\ndata: {"a":"ä€😀"}\n\ndata:tight\r\n\r\nevent: named\ndata: first\ndata: second\n\nid: 7\n\ndata: [DONE]\n\ndata: half';

test("events come whole, however the bytes are cut", async () => {
  const bytes = Buffer.from(TEXT);
  for (let pieceBytes = 1; pieceBytes <= bytes.length; pieceBytes++) {
    expect(await read(bytes, pieceBytes)).toEqual(['{"a":"ä€😀"}', "tight", "first\nsecond", "[DONE]"]);
  }
});

test("an event without an end is refused before it fills the memory", async () => {
  async function* flood(): AsyncGenerator<Uint8Array> {
    const piece = Buffer.alloc(2 ** 20, "x");
    for (let i = 0; i < 64; i++) yield piece;
  }
  const reading = (async () => {
    for await (const _ of readServerEvents(flood()));
  })();
  await expect(reading).rejects.toMatchObject({ code: "PROTOCOL_MISMATCH" });
});
