import { join } from "node:path";
import { NoodleError } from "../common/index.ts";
import { createPrivateFile, listNames, makePrivateFolder, readShortFile, writePrivateFile } from "./files.ts";

const CHECKS = {
  /** Unix time in ms. */
  time: (value: unknown) => typeof value === "number" && Number.isSafeInteger(value) && value >= 0,
  /** SHA-256, hex. */
  hash: (value: unknown) => typeof value === "string" && /^[0-9a-f]{64}$/.test(value),
  /** For people. */
  name: (value: unknown) => typeof value === "string" && value.length <= 256,
} as const;

type Kind = keyof typeof CHECKS;
export type RecordShape = Readonly<Record<string, Kind>>;
export type RecordOf<S extends RecordShape> = { readonly [K in keyof S]: S[K] extends "time" ? number : string };

export const TOKEN_RECORD = { secret_sha256: "hash", created_ms: "time", expires_ms: "time" } as const;
export const NODE_RECORD = { name: "name", public_key_sha256: "hash", issued_ms: "time", expires_ms: "time" } as const;
export const REVOCATION_RECORD = { revoked_ms: "time" } as const;
export const KEY_RECORD = { name: "name", sha256: "hash", created_ms: "time" } as const;

/**
 * A folder with a file for each record. A record is written once and whole, so that several processes may use the
 * folder without locks.
 */
export class RecordFolder<S extends RecordShape> {
  readonly path: string;
  readonly #shape: S;

  constructor(path: string, shape: S) {
    this.path = path;
    this.#shape = shape;
  }

  pathOf(id: string): string {
    return join(this.path, `${id}.json`);
  }

  /** @returns false where there is one of this id, which stays as it is */
  add(id: string, record: RecordOf<S>): boolean {
    makePrivateFolder(this.path);
    return createPrivateFile(this.pathOf(id), `${JSON.stringify(record)}\n`);
  }

  put(id: string, record: RecordOf<S>): void {
    makePrivateFolder(this.path);
    writePrivateFile(this.pathOf(id), `${JSON.stringify(record)}\n`);
  }

  /** Ids of all records. */
  ids(): readonly string[] {
    return listNames(this.path)
      .filter((name) => /^[a-z0-9-]+\.json$/.test(name))
      .map((name) => name.slice(0, -".json".length))
      .sort();
  }

  /** @returns undefined where there is none. @throws NoodleError `SECURITY_FILE_INVALID` for a damaged one */
  find(id: string): RecordOf<S> | undefined {
    const path = this.pathOf(id);
    let text: string;
    try {
      text = readShortFile(path);
    } catch (error) {
      if (error instanceof NoodleError && error.code === "FILE_NOT_FOUND") return undefined;
      throw error;
    }
    try {
      const record: unknown = JSON.parse(text);
      if (this.#isRecord(record)) return record;
    } catch (cause) {
      throw new NoodleError("SECURITY_FILE_INVALID", `${path} is damaged`, { cause });
    }
    throw new NoodleError("SECURITY_FILE_INVALID", `${path} does not hold what it should`);
  }

  list(): readonly { readonly id: string; readonly record: RecordOf<S> }[] {
    return this.ids().flatMap((id) => {
      const record = this.find(id);
      return record === undefined ? [] : [{ id, record }];
    });
  }

  #isRecord(value: unknown): value is RecordOf<S> {
    if (typeof value !== "object" || value === null) return false;
    const fields = new Map(Object.entries(value));
    return Object.entries(this.#shape).every(([field, kind]) => CHECKS[kind](fields.get(field)));
  }
}
