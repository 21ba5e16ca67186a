import type { Command } from "commander";
import { NoodleError } from "../../common/index.ts";
import { ENGINE_VERSION, listEnginePackages } from "../../engine/index.ts";
import {
  type Check,
  checkBundledModel,
  checkCpu,
  checkDisk,
  checkEngine,
  checkLayout,
  checkMemory,
  checkNode,
  checkPorts,
} from "../checks.ts";
import { type CommandContext, defineCommand, openContext } from "../command.ts";
import { resolveDataDirectory } from "../directories.ts";
import { readEngineOptions } from "../engine.ts";
import type { CliHost } from "../host.ts";
import { renderTable } from "../table.ts";

interface DoctorOptions {
  readonly json?: boolean;
  readonly data?: string;
}

export function addDoctor(program: Command, host: CliHost): void {
  defineCommand(program, {
    usage: "doctor",
    summary: "check the engine library and its layout, CPU, memory, disk and ports; each finding with its cure",
    examples: ["noodle doctor", "noodle doctor --json"],
  })
    .option("--data <dir>", "data directory to check")
    .action((options: DoctorOptions) => diagnose(openContext(host, options), options));
}

async function diagnose({ out, host }: CommandContext, options: DoctorOptions): Promise<void> {
  const engineOptions = readEngineOptions(host.env);
  const { check, engine } = checkEngine(engineOptions);
  const checks: readonly Check[] = [
    checkNode(process.version),
    check,
    ...(engine === null ? [] : [checkLayout(engineOptions)]),
    checkCpu(engine),
    checkMemory(),
    await checkDisk(resolveDataDirectory(host.env, options.data)),
    await checkPorts(),
    checkBundledModel(),
  ];
  const failed = checks.filter(({ status }) => status === "failure");
  out.document({
    schema: "noodle.doctor.v1",
    ok: failed.length === 0,
    checks,
    engine_version: ENGINE_VERSION,
    engine_packages: listEnginePackages(),
    engine:
      engine === null
        ? null
        : {
            build: engine.build,
            cpu_variant: engine.variant,
            cpu_variants: engine.variants,
            cpu_features: engine.features,
            package: engine.packageName,
            directory: engine.directory,
            devices: engine.devices.map((device) => ({
              name: device.name,
              description: device.description,
              kind: device.kind,
              memory_total_bytes: device.memoryTotalBytes,
              memory_free_bytes: device.memoryFreeBytes,
            })),
          },
  });
  out.data(
    renderTable(
      [{ title: "check" }, { title: "status" }, { title: "found" }],
      checks.map((row) => [row.name, row.status, row.found]),
    ),
  );
  for (const row of checks) if (row.cure !== null) out.line(`\n${row.name}: ${row.cure}`);
  out.line(`\nengine packages for this machine, the best first: ${listEnginePackages().join(", ")}`);
  out.line(`another one: npm install PACKAGE@${ENGINE_VERSION}`);
  if (failed.length > 0) {
    throw new NoodleError(
      engine === null ? "ENGINE_NOT_FOUND" : "INTERNAL",
      `${failed.length} of ${checks.length} checks failed: ${failed.map(({ name }) => name).join(", ")}`,
    );
  }
}
