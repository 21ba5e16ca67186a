import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { cruise, type ICruiseResult, type IForbiddenRuleType } from "dependency-cruiser";

const BELOW_CLUSTER = [
  "src/common",
  "src/gguf",
  "src/model",
  "src/observe",
  "src/schedule",
  "src/engine",
  "src/protocol",
  "src/security",
  "src/net",
];
/** What the cluster knows nothing of: they take its records. */
const ABOVE_ENGINE = [
  "src/profile",
  "src/profiler",
  "src/planner",
  "src/placement",
  "src/sim",
  "src/loop",
  "src/logs",
  "src/trace",
  "src/metrics",
  "src/telemetry",
  "src/report",
];
const CLUSTER_PARTS = ["src/cluster/state", "src/cluster/stage-files", "src/cluster/worker", "src/cluster/coordinator"];

/**
 * The module table: what each folder of `src/` may import. Arrows point down; a folder that is not here fails the
 * check, so a new one has to find its place first. Longer names win (`src/engine/native` before `src/engine`).
 */
export const LAYERS: Readonly<Record<string, readonly string[]>> = {
  "src/common": [],
  "src/gguf": ["src/common"],
  "src/gbnf": ["src/common"],
  "src/model": ["src/common", "src/gguf"],
  "src/engine/native": ["src/common"],
  "src/observe": ["src/common", "src/gguf", "src/model"],
  "src/schedule": ["src/common"],
  "src/engine": ["src/common", "src/gguf", "src/gbnf", "src/model", "src/observe", "src/schedule", "src/engine/native"],
  "src/profile": ["src/common", "src/gguf", "src/model", "src/observe"],
  "src/profiler": ["src/common", "src/gguf", "src/model", "src/observe", "src/engine", "src/profile"],
  "src/planner": ["src/common", "src/model", "src/profile"],
  "src/placement": ["src/common", "src/gguf", "src/model", "src/profile", "src/planner"],
  "src/sim": ["src/common", "src/model", "src/profile", "src/schedule", "src/planner", "src/placement"],
  "src/loop": ["src/common", "src/model", "src/profile", "src/planner", "src/placement", "src/sim"],
  "src/grammar": ["src/common", "src/gbnf"],
  "src/chat": ["src/common", "src/grammar"],
  "src/logs": ["src/common", "src/observe"],
  "src/trace": ["src/common", "src/observe"],
  "src/metrics": ["src/common", "src/observe"],
  "src/telemetry": ["src/common", "src/observe"],
  "src/report": ["src/common", "src/observe", "src/profile", "src/placement", "src/logs", "src/trace"],
  "src/protocol": ["src/common"],
  "src/store": ["src/common"],
  "src/certificates": ["src/common"],
  "src/security": ["src/common", "src/certificates"],
  "src/net": ["src/common", "src/protocol", "src/security"],
  "src/cluster/state": ["src/common", "src/gguf", "src/model", "src/engine", "src/protocol"],
  "src/cluster/stage-files": [...BELOW_CLUSTER],
  "src/cluster/worker": [...BELOW_CLUSTER, "src/cluster/state", "src/cluster/stage-files"],
  "src/cluster/coordinator": [...BELOW_CLUSTER, "src/store", "src/cluster/state", "src/cluster/stage-files"],
  "src/cluster/local": [...BELOW_CLUSTER, ...CLUSTER_PARTS],
  "src/shaper": ["src/common"],
  "src/validate": [
    "src/common",
    "src/model",
    "src/observe",
    "src/schedule",
    "src/profile",
    "src/profiler",
    "src/placement",
    "src/sim",
    "src/shaper",
    "src/cluster/coordinator",
    "src/cluster/local",
  ],
  "src/api": ["src/common", "src/engine", "src/schedule", "src/cluster/coordinator", "src/grammar", "src/chat"],
  "src/cli": [
    ...BELOW_CLUSTER,
    ...ABOVE_ENGINE,
    ...CLUSTER_PARTS,
    "src/cluster/local",
    "src/shaper",
    "src/validate",
    "src/grammar",
    "src/chat",
    "src/api",
  ],
};

export interface LayerReport {
  readonly modules: number;
  readonly violations: readonly string[];
}

/**
 * Reads every module under `root/src` and lists what breaks the table, the one-importer rule of koffi, or makes a circle.
 * Tests are held to the koffi rule only: they may build what they need. Generated code counts as its folder.
 */
export async function checkLayers(root: string): Promise<LayerReport> {
  const unknown = listFolders(root).filter((folder) => !Object.hasOwn(LAYERS, folder));
  const result = await cruise(
    ["src"],
    {
      baseDir: root,
      ruleSet: { forbidden: buildRules() },
      validate: true,
      tsPreCompilationDeps: true,
      doNotFollow: { path: "node_modules" },
      ...(existsSync(join(root, "tsconfig.json")) ? { tsConfig: { fileName: join(root, "tsconfig.json") } } : {}),
    },
    { extensions: [".ts", ".js"] },
  );
  const output = result.output as ICruiseResult;
  const modules = output.modules.filter((module) => module.source.startsWith("src/"));
  const unresolved = modules.flatMap((module) =>
    module.dependencies
      .filter((dependency) => dependency.couldNotResolve && dependency.module.startsWith("."))
      .map((dependency) => `unresolved: ${module.source} -> ${dependency.module}`),
  );
  const broken = output.summary.violations.map(
    (violation) => `${violation.rule.name}: ${violation.from} -> ${violation.to}`,
  );
  return {
    modules: modules.length,
    violations: [...unknown.map((folder) => `not in the table: ${folder}`), ...broken, ...unresolved],
  };
}

function buildRules(): IForbiddenRuleType[] {
  const folders = Object.keys(LAYERS);
  const rules: IForbiddenRuleType[] = folders.map((folder) => {
    const deeper = folders.filter((other) => other.startsWith(`${folder}/`)).map((other) => `^${other}/`);
    const allowed = [folder, ...(LAYERS[folder] ?? [])].map((other) => `^${other}/`);
    const forbiddenDeeper = deeper.filter((path) => !allowed.includes(path));
    return {
      name: `layers-of-${folder}`,
      severity: "error",
      from: { path: `^${folder}/`, pathNot: ["\\.test\\.ts$", ...deeper] },
      to:
        forbiddenDeeper.length === 0
          ? { path: "^src/", pathNot: allowed }
          : { path: ["^src/"], pathNot: allowed.map((path) => `${path}(?!${forbiddenDeeper.join("|")})`) },
    };
  });
  for (const folder of folders) {
    rules.push({
      name: `only-the-index-of-${folder}`,
      severity: "error",
      // What tests are made of may be made of what other tests are made of.
      from: { path: "^src/", pathNot: [`^${folder}/`, "\\.test\\.ts$", "/testing[^/]*\\.ts$"] },
      to: { path: `^${folder}/[^/]+\\.ts$`, pathNot: [`^${folder}/index\\.ts$`] },
    });
  }
  return [
    ...rules,
    {
      name: "koffi-only-in-native",
      severity: "error",
      from: { path: "^src", pathNot: "^src/engine/native/" },
      to: { path: "node_modules/koffi/|^koffi$" },
    },
    {
      name: "libsql-only-in-store",
      severity: "error",
      from: { path: "^src", pathNot: "^src/store/" },
      to: { path: "node_modules/libsql/|^libsql$" },
    },
    {
      // A circle of types alone does not exist at run time.
      name: "no-circular",
      severity: "error",
      from: { path: "^src" },
      to: { circular: true, viaOnly: { dependencyTypesNot: ["type-only"] } },
    },
  ];
}

/** Folders that hold TypeScript directly: each must be in the table, or lie under generated code. */
function listFolders(root: string, folder = "src"): string[] {
  const entries = readdirSync(join(root, folder), { withFileTypes: true });
  const deeper = entries
    .filter((entry) => entry.isDirectory())
    .flatMap((entry) => listFolders(root, `${folder}/${entry.name}`));
  const inTable = Object.keys(LAYERS).some((known) => folder === known || folder.startsWith(`${known}/`));
  const holdsCode = folder !== "src" && entries.some((entry) => entry.isFile() && entry.name.endsWith(".ts"));
  return holdsCode && !inTable ? [folder, ...deeper] : deeper;
}
