// Generates the protobuf code again, into a temporary folder, and compares it with what is committed.
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const folder = "src/protocol/gen";
const fresh = mkdtempSync(join(tmpdir(), "noodle-generated-"));
try {
  const buf = spawnSync(join(root, "node_modules/.bin/buf"), ["generate", "-o", fresh], {
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...process.env, PATH: `${join(root, "node_modules/.bin")}:${process.env["PATH"] ?? ""}` },
  });
  if (buf.status !== 0) throw new Error(`buf generate ended with ${buf.status ?? buf.signal ?? String(buf.error)}`);
  const wanted = listFiles(join(fresh, folder));
  const committed = listFiles(join(root, folder));
  const differing = [...new Set([...wanted.keys(), ...committed.keys()])].filter(
    (name) => wanted.get(name) !== committed.get(name),
  );
  for (const name of differing) console.error(`${folder}/${name} differs: run \`npm run generate\``);
  console.log(`${wanted.size} generated files, ${differing.length} differ`);
  if (wanted.size === 0 || differing.length > 0) process.exitCode = 1;
} finally {
  rmSync(fresh, { recursive: true });
}

function listFiles(path: string): ReadonlyMap<string, string> {
  const names = readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
  return new Map(names.map((name) => [name.slice(path.length + 1), readFileSync(name, "utf8")]));
}
