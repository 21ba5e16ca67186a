import { expect, it } from "vitest";
import { TextAssembler } from "./tokenizer.ts";

it("text comes out in whole characters, however the pieces cut it", () => {
  const text = "\uFEFFa🍜é漢";
  const bytes = new TextEncoder().encode(text);
  const assembler = new TextAssembler();
  const parts = [...bytes].map((byte) => assembler.push(Uint8Array.of(byte)));
  expect(parts.join("") + assembler.flush()).toBe(text);
  expect(parts.filter((part) => part !== "")).toEqual(["\uFEFF", "a", "🍜", "é", "漢"]);
});

it("an unfinished character becomes a replacement mark at the end", () => {
  const assembler = new TextAssembler();
  expect(assembler.push(Uint8Array.of(0x61, 0xf0, 0x9f))).toBe("a");
  expect(assembler.flush()).toBe("\uFFFD");
});
