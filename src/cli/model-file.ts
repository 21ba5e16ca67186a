import { stat } from "node:fs/promises";
import { basename } from "node:path";
import { NoodleError } from "../common/index.ts";
import { getArray, getString, type GgufMetadata, openGguf } from "../gguf/index.ts";
import { describeModel, type ModelDescription } from "../model/index.ts";

/** What is read of a model's file before anything is started. */
export interface ModelFile {
  readonly path: string;
  readonly model: ModelDescription;
  /** SHA-256 of the model's GGUF header, hex; profiles name it. */
  readonly headerSha256: string;
  /** Jinja; null where the file has none. */
  readonly chatTemplate: string | null;
  /** How tokens that are more than text are written, such as `<|im_end|>`, by their ids. */
  readonly specialTokens: ReadonlyMap<number, string>;
  /** Last change of the file, Unix time in seconds. */
  readonly changed: number;
}

const TEMPLATE = "tokenizer.chat_template";
const TOKENS = "tokenizer.ggml.tokens";
const TOKEN_TYPES = "tokenizer.ggml.token_type";
/** GGUF's numbers for tokens that control, and for those that the model's maker added. */
const SPECIAL_TYPES = new Set<unknown>([3, 4]);

/** @throws NoodleError the errors of the file */
export async function readModelFile(path: string): Promise<ModelFile> {
  const file = await openGguf(path);
  try {
    const { metadata } = file.header;
    return {
      path,
      model: describeModel(file.header, file.fileBytes),
      headerSha256: await file.headerSha256(),
      chatTemplate: getString(metadata, TEMPLATE) ?? null,
      specialTokens: readSpecialTokens(metadata),
      changed: Math.floor((await stat(path)).mtimeMs / 1000),
    };
  } finally {
    await file.close();
  }
}

function readSpecialTokens(metadata: GgufMetadata): ReadonlyMap<number, string> {
  const types = getArray(metadata, TOKEN_TYPES) ?? [];
  const texts = getArray(metadata, TOKENS) ?? [];
  const special = new Map<number, string>();
  for (const [id, type] of types.entries()) {
    const text = texts[id];
    if (SPECIAL_TYPES.has(type) && typeof text === "string") special.set(id, text);
  }
  return special;
}

const MAX_ID_CHARS = 128;

/**
 * The id that requests choose a model by: the alias, or the file's name without its ending.
 *
 * @throws NoodleError `USAGE` for an alias that is no id
 */
export function nameModel(path: string, alias: string | undefined): string {
  if (alias !== undefined) {
    if (/^[A-Za-z0-9][\w./:-]*$/.test(alias) && alias.length <= MAX_ID_CHARS) return alias;
    throw new NoodleError(
      "USAGE",
      `--alias "${alias}" is no id: 1 to ${MAX_ID_CHARS} of A-Z a-z 0-9 _ . / : -, a letter or digit first`,
    );
  }
  const name = basename(path)
    .replace(/\.gguf$/i, "")
    .replace(/-00001-of-\d{5}$/, "");
  const id = name.replace(/[^\w.-]+/g, "-").replace(/^[^A-Za-z0-9]+/, "");
  return id.slice(0, MAX_ID_CHARS) || "model";
}
