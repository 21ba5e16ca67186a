import type { Command } from "commander";
import { NoodleError } from "../../common/index.ts";
import { ApiKeys, ClusterFolder, Membership } from "../../security/index.ts";
import { resolveClusterFolder } from "../cluster-security.ts";
import { type CommandContext, defineCommand, openContext } from "../command.ts";
import type { CliHost } from "../host.ts";
import { parseInteger } from "../quantities.ts";
import { renderTable } from "../table.ts";

interface ClusterCommandOptions {
  readonly json?: boolean;
  readonly clusterDir?: string;
  readonly ttl: number;
}

const TTL_MINUTES = 60;
const MAX_TTL_MINUTES = 7 * 24 * 60;

export function addCluster(program: Command, host: CliHost): void {
  defineCommand(program, {
    usage: "cluster <action> [arguments...]",
    summary:
      "say who may be in a cluster: init [dir], token, nodes, revoke <node>, key add [name], key list, key revoke <id>",
    examples: [
      "noodle cluster init /etc/noodle/cluster",
      "noodle cluster token --ttl 30 --cluster-dir /etc/noodle/cluster",
      "noodle cluster nodes --cluster-dir /etc/noodle/cluster",
      "noodle cluster revoke n-0123456789ab --cluster-dir /etc/noodle/cluster",
      "noodle cluster key add laptop --cluster-dir /etc/noodle/cluster",
      "noodle cluster key list --cluster-dir /etc/noodle/cluster",
      "noodle cluster key revoke 0123456789ab --cluster-dir /etc/noodle/cluster",
    ],
  })
    .option(
      "--cluster-dir <dir>",
      "what `noodle cluster init` made (default: NOODLE_CLUSTER_DIR, then a folder in the data directory)",
    )
    .option(
      "--ttl <minutes>",
      "how long a token can be used",
      (text) => parseInteger(text, "--ttl", 1, MAX_TTL_MINUTES),
      TTL_MINUTES,
    )
    .action((action: string, words: readonly string[], options: ClusterCommandOptions) =>
      run(openContext(host, options), [action, ...words], options),
    );
}

async function run(context: CommandContext, words: readonly string[], options: ClusterCommandOptions): Promise<void> {
  const [action, first, second] = words;
  const count = words.length;
  if (action === "init" && count <= 2) return init(context, first ?? options.clusterDir);
  const path = resolveClusterFolder(context.host.env, options.clusterDir);
  const membership = new Membership(new ClusterFolder(path));
  const keys = new ApiKeys(path);
  if (action === "token" && count === 1) return printToken(context, membership, options.ttl * 60_000);
  if (action === "nodes" && count === 1) return listNodes(context, membership);
  if (action === "revoke" && first !== undefined && count === 2) return revoke(context, membership, first);
  if (action === "key" && first === "add" && count <= 3) return addKey(context, keys, second ?? "");
  if (action === "key" && first === "list" && count === 2) return listKeys(context, keys);
  if (action === "key" && first === "revoke" && second !== undefined && count === 3) {
    return revokeKey(context, keys, second);
  }
  throw new NoodleError("USAGE", `"noodle cluster ${words.join(" ")}" is none of what --help lists`);
}

function addKey({ out }: CommandContext, keys: ApiKeys, name: string): void {
  const { id, key } = keys.add(name, Date.now());
  out.document({ schema: "noodle.cluster_key.v1", id, name, key });
  out.data(`${key}\n`);
  out.note(`key ${id}: it is not kept and can't be shown again`);
}

function listKeys({ out }: CommandContext, keys: ApiKeys): void {
  const all = keys.list().map(({ id, name, createdMs }) => ({ id, name, created: writeTime(createdMs) }));
  out.document({ schema: "noodle.cluster_keys.v1", keys: all });
  const columns = [{ title: "key" }, { title: "name" }, { title: "made" }];
  const rows = all.map(({ id, name, created }) => [id, name, created]);
  out.data(renderTable(columns, rows));
}

function revokeKey({ out }: CommandContext, keys: ApiKeys, id: string): void {
  keys.revoke(id);
  out.document({ schema: "noodle.cluster_key_revoked.v1", id });
  out.line(`key ${id} is no more`);
}

async function init({ out, host }: CommandContext, dir: string | undefined): Promise<void> {
  const { path } = await ClusterFolder.init(resolveClusterFolder(host.env, dir), Date.now());
  out.document({ schema: "noodle.cluster_init.v1", directory: path });
  out.line(`the authority of a new cluster is in ${path}`);
  out.note(`ca-key.pem makes members: whoever reads it owns the cluster`);
  out.note(`next: noodle cluster key add --cluster-dir ${path}`);
  out.note(`then: noodle coordinator MODEL --expect 2 --host 0.0.0.0 --cluster-dir ${path}`);
}

function printToken({ out }: CommandContext, membership: Membership, ttlMs: number): void {
  const nowMs = Date.now();
  const token = membership.makeToken(ttlMs, nowMs);
  const expires = writeTime(nowMs + ttlMs);
  out.document({ schema: "noodle.cluster_token.v1", token, expires });
  out.data(`${token}\n`);
  out.note(`for one worker, until ${expires}: noodle worker --join TOKEN@HOST:PORT`);
}

function listNodes({ out }: CommandContext, membership: Membership): void {
  const nodes = membership.list().map(({ nodeId, name, issuedMs, expiresMs, revoked }) => ({
    id: nodeId,
    name,
    issued: writeTime(issuedMs),
    expires: writeTime(expiresMs),
    revoked,
  }));
  out.document({ schema: "noodle.cluster_nodes.v1", nodes });
  const columns = [{ title: "node" }, { title: "name" }, { title: "issued" }, { title: "expires" }, { title: "state" }];
  const rows = nodes.map(({ id, name, issued, expires, revoked }) => [
    id,
    name,
    issued,
    expires,
    revoked ? "shut out" : "member",
  ]);
  out.data(renderTable(columns, rows));
}

function revoke({ out }: CommandContext, membership: Membership, node: string): void {
  const id = membership.revoke(node, Date.now());
  out.document({ schema: "noodle.cluster_revoked.v1", id });
  out.line(`node ${id} is shut out`);
}

function writeTime(ms: number): string {
  return new Date(ms).toISOString();
}
