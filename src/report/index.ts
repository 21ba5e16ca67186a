export { loadPageAssets } from "./assets.ts";
export { buildReport } from "./build-report.ts";
export type { ReportDocument } from "./document.ts";
export { reportSchema } from "./document-schema.ts";
export type { ReportInputs } from "./inputs.ts";
export { type ReadReportOptions, readReportInputs } from "./read-run.ts";
export { type PageAssets, renderPage } from "./render-page.ts";
