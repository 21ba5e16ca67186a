import { basename, dirname, join, resolve } from "node:path";
import { buildReport, loadPageAssets, readReportInputs, renderPage, type ReportDocument } from "../report/index.ts";
import type { CommandContext } from "./command.ts";
import { PACKAGE_VERSION } from "./package.ts";
import { writeWhole } from "./write-whole.ts";

export interface WrittenReport {
  readonly report: ReportDocument;
  readonly pagePath: string;
  readonly dataPath: string;
  readonly pageBytes: number;
}

/** Makes the page of run folders and profiles, and its data beside it. @throws NoodleError of what can't be read */
export async function writeReport(
  { out, signal }: CommandContext,
  sources: readonly string[],
  path: string,
): Promise<WrittenReport> {
  const pagePath = resolve(path);
  const dataPath = nameData(pagePath);
  const inputs = await readReportInputs(sources, {
    noodlecoreVersion: PACKAGE_VERSION,
    signal,
    onPhase: (words) => out.progress.phase(words),
  });
  const report = buildReport(inputs);
  const html = renderPage(report, await loadPageAssets());
  await writeWhole(pagePath, html);
  await writeWhole(dataPath, `${JSON.stringify(report)}\n`);
  return { report, pagePath, dataPath, pageBytes: Buffer.byteLength(html) };
}

/** `report.html` has `report.json` beside it, `x.html` has `x.report.json`: never the name of what was read. */
function nameData(page: string): string {
  const name = basename(page).replace(/\.html?$/i, "");
  return join(dirname(page), name === "report" ? "report.json" : `${name}.report.json`);
}
