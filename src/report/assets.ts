import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import type { PageAssets } from "./render-page.ts";

/** Reads what a page is made of from the package and its charting library. */
export async function loadPageAssets(): Promise<PageAssets> {
  const plotlyPath = fileURLToPath(import.meta.resolve("plotly.js-cartesian-dist-min"));
  const [plotly, script, style] = await Promise.all([
    readFile(plotlyPath, "utf8"),
    readFile(new URL("./page/report.js", import.meta.url), "utf8"),
    readFile(new URL("./page/report.css", import.meta.url), "utf8"),
  ]);
  return { plotly, script, style };
}
