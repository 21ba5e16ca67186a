import { expect, test } from "vitest";
import { Tokenizer } from "../engine/index.ts";
import { BUNDLED_MODEL } from "./directories.ts";
import { LongTokenizer } from "./long-tokenizer.ts";

const OPTIONS = { addSpecial: true, parseSpecial: false };

test("a long text on a thread has the tokens that it has here, and closing ends what waits", async () => {
  const long = new LongTokenizer({ path: BUNDLED_MODEL, engine: {} });
  const text = "Once upon a time there was a king who had three sons. ".repeat(2000);
  const tokens = await long.tokenize(text, OPTIONS);
  using tokenizer = Tokenizer.open(BUNDLED_MODEL);
  expect(tokens).toEqual(tokenizer.tokenize(text, OPTIONS));
  const waiting = long.tokenize(text, OPTIONS);
  long.close();
  await expect(waiting).rejects.toMatchObject({ code: "INTERRUPTED" });
  // The next one starts another thread.
  expect(await long.tokenize("a king", OPTIONS)).toEqual(tokenizer.tokenize("a king", OPTIONS));
  long.close();
});

test("a file that is no model is an error of the text that wanted it", async () => {
  const long = new LongTokenizer({ path: "/no/such/model.gguf", engine: {} });
  await expect(long.tokenize("a", OPTIONS)).rejects.toBeDefined();
  long.close();
});
