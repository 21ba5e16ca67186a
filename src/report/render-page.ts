import { createHash } from "node:crypto";
import { NoodleError } from "../common/index.ts";
import type { ReportChart, ReportDocument, ReportSection, ReportTable } from "./document.ts";
import { escapeHtml, escapeJson } from "./escape.ts";
import { renderLegend } from "./legend.ts";
import { formatPercent } from "./numbers.ts";

/** Source texts that a page is made of, each put into it whole. */
export interface PageAssets {
  /** The cartesian bundle of Plotly. */
  readonly plotly: string;
  readonly script: string;
  readonly style: string;
}

/** Says that scripts run, before anything is shown: tables are closed then, and plain to see otherwise. */
const BOOT = 'document.documentElement.classList.add("js");';
/** Plotly adds an empty style element and fills it by the object model; the empty text has to be allowed. */
const EMPTY = "";

/**
 * The page: one file, complete, with a policy that forbids every request. Pure: the same document gives the same bytes.
 *
 * @returns HTML, UTF-8
 */
export function renderPage(document: ReportDocument, assets: PageAssets): string {
  const scripts = [BOOT, assets.plotly, assets.script];
  for (const script of scripts) requireEmbeddable(script, "script");
  requireEmbeddable(assets.style, "style");
  const policy = [
    "default-src 'none'",
    `script-src ${scripts.map(hashOf).join(" ")}`,
    `style-src ${[assets.style, EMPTY].map(hashOf).join(" ")}`,
    "style-src-attr 'unsafe-inline'",
    "img-src data:",
    "base-uri 'none'",
    "form-action 'none'",
  ].join("; ");
  const panels = document.sections.flatMap(({ charts }) => charts.flatMap((chart) => chart.panels));
  return [
    "<!doctype html>",
    '<html lang="en">',
    "<head>",
    '<meta charset="utf-8">',
    `<meta http-equiv="Content-Security-Policy" content="${policy}">`,
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    '<meta name="color-scheme" content="light dark">',
    '<meta name="referrer" content="no-referrer">',
    `<title>${escapeHtml(document.title)} - NoodleCore report</title>`,
    '<link rel="icon" href="data:,">',
    `<style>${assets.style}</style>`,
    `<script>${BOOT}</script>`,
    "</head>",
    "<body>",
    '<a class="skip" href="#report">Skip to the report</a>',
    '<div class="page">',
    renderHeader(document),
    '<main id="report" tabindex="-1">',
    renderMatters(document),
    renderRemedies(document),
    renderContents(document),
    ...document.sections.map(renderSection),
    renderMissing(document),
    "</main>",
    renderFooter(document),
    "</div>",
    `<script type="application/json" id="report-data">${escapeJson(panels)}</script>`,
    `<script>${assets.plotly}</script>`,
    `<script>${assets.script}</script>`,
    "</body>",
    "</html>",
    "",
  ].join("\n");
}

function renderHeader({ title, subtitle }: ReportDocument): string {
  return `<header><p class="eyebrow">NoodleCore report</p><h1>${escapeHtml(title)}</h1><p class="subtitle">${escapeHtml(subtitle)}</p></header>`;
}

function renderMatters({ statements, figures }: ReportDocument): string {
  if (statements.length === 0 && figures.length === 0) return "";
  const heading = statements.length === 3 ? "The three things that matter" : "What matters";
  const list = statements.map((words) => `<li><span>${escapeHtml(words)}</span></li>`).join("");
  const facts = figures
    .map(
      ({ label, value, detail }) =>
        `<div><dt>${escapeHtml(label)}</dt><dd class="value">${escapeHtml(value)}</dd><dd class="detail">${escapeHtml(detail)}</dd></div>`,
    )
    .join("");
  return [
    '<section class="matters" aria-labelledby="matters">',
    `<h2 id="matters">${heading}</h2>`,
    statements.length > 0 ? `<ol class="statements">${list}</ol>` : "",
    figures.length > 0 ? `<dl class="figures">${facts}</dl>` : "",
    "</section>",
  ].join("");
}

function renderRemedies({ remedies }: ReportDocument): string {
  if (remedies.length === 0) return "";
  const items = remedies.map(
    ({ phase, words, gain_ratio, because }) =>
      `<li><span class="gain">${escapeHtml(formatPercent(gain_ratio))}<span class="because">of ${phase}</span></span><span>${escapeHtml(words)}<span class="because">${escapeHtml(because)}</span></span></li>`,
  );
  return `<section class="matters" aria-labelledby="help"><h2 id="help">What would help, and the gain that the profile's figures promise</h2><ul class="remedies">${items.join("")}</ul></section>`;
}

function renderContents({ sections, missing }: ReportDocument): string {
  const links = [
    ...sections.map(({ id, title }) => ({ id, title })),
    ...(missing.length > 0 ? [{ id: "missing", title: "What is not here" }] : []),
  ];
  const items = links.map(({ id, title }) => `<li><a href="#${id}">${escapeHtml(title)}</a></li>`).join("");
  return `<nav class="contents" aria-label="Contents"><ul>${items}</ul></nav>`;
}

function renderSection({ id, title, charts }: ReportSection): string {
  return [
    `<section class="group" id="${id}" aria-labelledby="${id}-title">`,
    `<h2 id="${id}-title">${escapeHtml(title)}</h2>`,
    ...charts.map(renderChart),
    "</section>",
  ].join("\n");
}

function renderChart(chart: ReportChart): string {
  const { id, title, sentence, note, panels, legend, table } = chart;
  const plots = panels
    .map((panel) => {
      const label = panel.title === null ? title : `${title}, ${panel.title}`;
      const heading = panel.title === null ? "" : `<h4>${escapeHtml(panel.title)}</h4>`;
      return `<div class="panel${panel.wide ? " wide" : ""}">${heading}${renderLegend(panel.legend)}<div class="plot" id="plot-${panel.id}" role="img" aria-label="${escapeHtml(`Chart: ${label}. The numbers are in the table below.`)}"></div></div>`;
    })
    .join("");
  return [
    `<article class="chart" id="${id}" aria-labelledby="${id}-title">`,
    `<h3 id="${id}-title">${escapeHtml(title)}</h3>`,
    `<p class="sentence">${escapeHtml(sentence)}</p>`,
    renderLegend(legend),
    `<div class="panels">${plots}</div>`,
    note === null ? "" : `<p class="note">${escapeHtml(note)}</p>`,
    `<button type="button" class="toggle" aria-expanded="false" aria-controls="${id}-numbers" aria-describedby="${id}-title">Show the numbers</button>`,
    renderTable(`${id}-numbers`, table),
    "</article>",
  ].join("");
}

function renderTable(id: string, { caption, columns, rows, rows_left_out }: ReportTable): string {
  const head = columns
    .map(({ title, numeric }) => `<th scope="col"${numeric ? ' class="number"' : ""}>${escapeHtml(title)}</th>`)
    .join("");
  const body = rows
    .map((row) => {
      const cells = row.map((cell, index) => {
        if (index === 0) return `<th scope="row">${escapeHtml(cell)}</th>`;
        return `<td${columns[index]?.numeric === true ? ' class="number"' : ""}>${escapeHtml(cell)}</td>`;
      });
      return `<tr>${cells.join("")}</tr>`;
    })
    .join("");
  const rest =
    rows_left_out === 0
      ? ""
      : `<p class="left-out">${rows_left_out} more rows were left out; the JSON beside the page has the charts' full data.</p>`;
  return `<div class="numbers" id="${id}" role="region" aria-label="${escapeHtml(caption)}" tabindex="0"><table><caption>${escapeHtml(caption)}</caption><thead><tr>${head}</tr></thead><tbody>${body}</tbody></table>${rest}</div>`;
}

function renderMissing({ missing }: ReportDocument): string {
  if (missing.length === 0) return "";
  const items = missing.map(({ what, how }) => `<li><strong>${escapeHtml(what)}</strong>${escapeHtml(how)}</li>`);
  return `<section class="group" id="missing" aria-labelledby="missing-title"><h2 id="missing-title">What is not here, and how to get it</h2><ul class="missing">${items.join("")}</ul></section>`;
}

function renderFooter({ sources, noodlecore_version }: ReportDocument): string {
  const items = sources.map(
    ({ name, detail, damaged }) =>
      `<li${damaged ? ' class="damaged"' : ""}><span class="name">${escapeHtml(name)}</span>: ${escapeHtml(detail)}</li>`,
  );
  return [
    "<footer>",
    "<h2>What was read</h2>",
    `<ul>${items.join("")}</ul>`,
    `<p>Made by NoodleCore ${escapeHtml(noodlecore_version)}. Drag in a chart to look closer, double-click to come back. The page needs no network; its data lies beside it as JSON.</p>`,
    "</footer>",
  ].join("");
}

function hashOf(text: string): string {
  return `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
}

/** Inside an element the text ends at its closing tag, and carriage returns would be read as something else. */
function requireEmbeddable(text: string, element: string): void {
  if (new RegExp(`</${element}|<!--|\\r|\\0`, "i").test(text))
    throw new NoodleError("INTERNAL", `a ${element} of the page holds what would end or change it`);
}
