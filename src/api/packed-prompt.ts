import type { RenderedPrompt } from "../chat/index.ts";

/** A rendered prompt as it goes from thread to thread: thousands of segments would be thousands of objects to copy. */
export interface PackedPrompt extends Omit<RenderedPrompt, "segments"> {
  /** For each segment, where it ends in the text, in UTF-16 units. */
  readonly ends: Uint32Array;
  /** For each segment, 1 where special tokens are read. */
  readonly special: Uint8Array;
}

export function packPrompt({ segments, ...rest }: RenderedPrompt): PackedPrompt {
  let end = 0;
  const ends = Uint32Array.from(segments, ({ text }) => {
    end += text.length;
    return end;
  });
  return { ...rest, ends, special: Uint8Array.from(segments, ({ special }) => (special ? 1 : 0)) };
}

export function unpackPrompt({ ends, special, ...rest }: PackedPrompt): RenderedPrompt {
  const segments = Array.from(ends, (end, index) => ({
    text: rest.text.slice(ends[index - 1] ?? 0, end),
    special: special[index] === 1,
  }));
  return { ...rest, segments };
}
