// Runs a command line (`smoke.ts FILE... -- COMMAND...`) and checks what a user would notice: exit code 0, the named
// files are there and not empty, and no process that it started is left.
import { spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { existsSync, statSync } from "node:fs";
import { listMarkedProcesses, MARK_NAME } from "./process-watch.ts";

const separator = process.argv.indexOf("--");
const [command, ...args] = process.argv.slice(separator + 1);
if (separator < 2 || command === undefined) {
  console.error("usage: smoke.ts [FILE...] -- COMMAND [ARGUMENT...]");
  process.exit(2);
}
const files = process.argv.slice(2, separator);
const mark = randomUUID();
const run = spawnSync(command, args, {
  stdio: ["ignore", "inherit", "inherit"],
  env: { ...process.env, [MARK_NAME]: mark },
});
const left = listMarkedProcesses(mark);
const complaints = [
  ...(run.status === 0 ? [] : [`${command} ended with ${run.status ?? run.signal ?? String(run.error)}`]),
  ...files.filter((file) => !existsSync(file) || statSync(file).size === 0).map((file) => `missing or empty: ${file}`),
  ...left.map(({ pid, command: line }) => `still running: ${pid} ${line}`),
];
for (const complaint of complaints) console.error(complaint);
process.exit(complaints.length === 0 ? 0 : 1);
