import { NoodleError } from "../common/index.ts";

/** A chunk of an answer is a few kilobytes; one with the log-probabilities of a long prompt some megabytes. */
const MAX_EVENT_CHARS = 16 * 2 ** 20;

/**
 * Reads the data of server-sent events whose lines end with a line feed. Comments and all other fields are skipped, since
 * no answer of the API needs them.
 *
 * @throws NoodleError `PROTOCOL_MISMATCH` for an event that is too long
 */
export async function* readServerEvents(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<string, void, undefined> {
  const decoder = new TextDecoder();
  let rest = "";
  let heldChars = 0;
  let data: string[] = [];
  for await (const chunk of chunks) {
    const text = decoder.decode(chunk, { stream: true });
    rest += text;
    heldChars += text.length;
    if (heldChars > MAX_EVENT_CHARS) {
      throw new NoodleError("PROTOCOL_MISMATCH", `an event of the answer is longer than ${MAX_EVENT_CHARS} characters`);
    }
    // A long line is not searched again with each of its pieces.
    if (!text.includes("\n")) continue;
    const lines = rest.split("\n");
    rest = lines.pop() ?? "";
    for (const ended of lines) {
      const line = ended.endsWith("\r") ? ended.slice(0, -1) : ended;
      if (line.startsWith("data:")) data.push(line.slice(line.startsWith("data: ") ? 6 : 5));
      else if (line === "" && data.length > 0) {
        yield data.join("\n");
        data = [];
      }
    }
    heldChars = data.reduce((chars, { length }) => chars + length, rest.length);
  }
}
