import type { Command } from "commander";
import { type CommandContext, defineCommand, openContext } from "../command.ts";
import type { CliHost } from "../host.ts";
import { formatBytes } from "../quantities.ts";
import { writeReport } from "../report-file.ts";

interface ReportOptions {
  readonly json?: boolean;
  readonly out: string;
}

export function addReport(program: Command, host: CliHost): void {
  defineCommand(program, {
    usage: "report <sources...>",
    summary: "make one offline HTML page of a run folder or a profile; a second profile is compared with the first",
    examples: [
      "noodle report noodle-run-20261123-114501",
      "noodle report profile.json other/profile.json -o report.html",
    ],
  })
    .option("-o, --out <file>", "the page; its data is written beside it as JSON", "report.html")
    .action((sources: string[], options: ReportOptions) => makeReport(openContext(host, options), sources, options));
}

async function makeReport(context: CommandContext, sources: readonly string[], options: ReportOptions): Promise<void> {
  const { out } = context;
  const { report, pagePath, dataPath, pageBytes } = await writeReport(context, sources, options.out);
  out.document({ ...report });
  for (const words of report.statements) out.line(words);
  const charts = report.sections.reduce((total, section) => total + section.charts.length, 0);
  out.line(`\n${pagePath}: ${charts} charts, ${formatBytes(pageBytes)}; the data: ${dataPath}`);
  for (const { name, detail, damaged } of report.sources) if (damaged) out.note(`${name}: ${detail}`);
  for (const { what, how } of report.missing) out.note(`not in it: ${what}. ${how}`);
}
