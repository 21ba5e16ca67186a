import { NoodleError } from "../common/index.ts";
import type { Sqlite } from "./sqlite.ts";

/** In the file's header, so that tools can name it: "nood". */
const APPLICATION_ID = 0x6e6f6f64;

/**
 * What makes each version of the one before, the first of nothing. A released one is never changed: what differs is a
 * new one behind it.
 */
const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE terms (
    term INTEGER PRIMARY KEY, started_ms INTEGER NOT NULL, stopped_ms INTEGER, pid INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE plans (
    epoch INTEGER PRIMARY KEY, term INTEGER NOT NULL, committed_ms INTEGER NOT NULL, model TEXT NOT NULL,
    stages TEXT NOT NULL, sum INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE holders (
    model TEXT NOT NULL, units TEXT NOT NULL, node_id TEXT NOT NULL, PRIMARY KEY (model, units)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE model_hashes (
    files TEXT PRIMARY KEY, stamps TEXT NOT NULL, hashes TEXT NOT NULL, used_ms INTEGER NOT NULL, sum INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE sessions (
    id INTEGER PRIMARY KEY, session_id TEXT NOT NULL UNIQUE, term INTEGER NOT NULL, opened_ms INTEGER NOT NULL,
    deadline_ms INTEGER, client TEXT NOT NULL, request TEXT NOT NULL, prompt BLOB NOT NULL, sum INTEGER NOT NULL,
    outcome TEXT, expires_ms INTEGER
  ) STRICT;
  CREATE INDEX sessions_by_expiry ON sessions (expires_ms) WHERE expires_ms IS NOT NULL;
  CREATE TABLE tokens (
    session INTEGER NOT NULL, position INTEGER NOT NULL, tokens BLOB NOT NULL, notes TEXT, sum INTEGER NOT NULL,
    PRIMARY KEY (session, position)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE events (
    id INTEGER PRIMARY KEY, term INTEGER NOT NULL, at_ms INTEGER NOT NULL, name TEXT NOT NULL, severity TEXT NOT NULL,
    node_id TEXT, message TEXT NOT NULL, details TEXT NOT NULL
  ) STRICT;
  CREATE TABLE replies (
    client TEXT NOT NULL, key_sha256 TEXT NOT NULL, body_sha256 TEXT NOT NULL, term INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL, reply TEXT, sum INTEGER NOT NULL, PRIMARY KEY (client, key_sha256)
  ) STRICT, WITHOUT ROWID;
  `,
];

const SCHEMA_VERSION = MIGRATIONS.length;

/**
 * SQL that brings a store up to this release's version, each version in a transaction of its own.
 *
 * @param from its version; 0 = an empty file
 */
export function writeUpgrade(from: number): string {
  return MIGRATIONS.slice(from)
    .map((script, index) => {
      const version = from + index + 1;
      return `BEGIN IMMEDIATE;
        ${script}
        INSERT OR REPLACE INTO meta VALUES ('schema_version', '${version}');
        PRAGMA application_id = ${APPLICATION_ID};
        PRAGMA user_version = ${version};
        COMMIT;`;
    })
    .join("\n");
}

/**
 * Brings a store up to this release's version.
 *
 * @throws STATE_VERSION for a version that only a newer release knows, STATE_DAMAGED where the file contradicts itself
 */
export function upgrade(db: Sqlite): void {
  const version = readVersion(db);
  if (version > SCHEMA_VERSION) {
    throw new NoodleError(
      "STATE_VERSION",
      `${db.path} has schema version ${version}, this release knows versions up to ${SCHEMA_VERSION}`,
    );
  }
  if (version < SCHEMA_VERSION) db.exec(writeUpgrade(version));
}

/** The version stands in two places, so that damage of the header does not pass for another release. */
function readVersion(db: Sqlite): number {
  const version = Number(db.readPragma("user_version"));
  const isEmpty = db.get("SELECT 1 FROM sqlite_schema LIMIT 1") === undefined;
  const told = isEmpty ? undefined : db.get("SELECT value FROM meta WHERE key = 'schema_version'");
  if (Number(db.readPragma("application_id")) !== APPLICATION_ID || told?.["value"] !== String(version)) {
    throw new NoodleError(
      "STATE_DAMAGED",
      `${db.path}: ${isEmpty ? "it is empty" : "its header contradicts its tables"}`,
    );
  }
  return version;
}
