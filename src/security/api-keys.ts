import { randomBytes } from "node:crypto";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { NoodleError } from "../common/index.ts";
import { hashSecret } from "./join-token.ts";
import { KEY_RECORD, RecordFolder } from "./records.ts";

export interface ApiKeyEntry {
  readonly id: string;
  readonly name: string;
  readonly createdMs: number;
}

const KEY_BYTES = 32;
const ID_BYTES = 6;

/** Keys of the HTTP API: 256 random bits each, of which the hash alone is kept. */
export class ApiKeys {
  readonly #records: RecordFolder<typeof KEY_RECORD>;

  /** @param clusterFolder as `noodle cluster init` has made it */
  constructor(clusterFolder: string) {
    this.#records = new RecordFolder(join(clusterFolder, "keys"), KEY_RECORD);
  }

  /** @returns the key itself, which can't be shown again */
  add(name: string, nowMs: number): { readonly id: string; readonly key: string } {
    const id = randomBytes(ID_BYTES).toString("hex");
    const key = `noodle-${randomBytes(KEY_BYTES).toString("base64url")}`;
    this.#records.add(id, { name: name.slice(0, 256), sha256: hashSecret(key), created_ms: nowMs });
    return { id, key };
  }

  list(): readonly ApiKeyEntry[] {
    return this.#records.list().map(({ id, record }) => ({ id, name: record.name, createdMs: record.created_ms }));
  }

  /** SHA-256 of each, hex. */
  hashes(): readonly string[] {
    return this.#records.list().map(({ record }) => record.sha256);
  }

  /** @throws NoodleError `USAGE` where there is none of this id */
  revoke(id: string): void {
    if (!this.#records.ids().includes(id)) throw new NoodleError("USAGE", `there is no key "${id}"`);
    rmSync(this.#records.pathOf(id), { force: true });
  }
}
