import { createHash } from "node:crypto";
import { beforeAll, describe, expect, test } from "vitest";
import { loadPageAssets } from "./assets.ts";
import { buildReport } from "./build-report.ts";
import type { ReportInputs } from "./inputs.ts";
import { type PageAssets, renderPage } from "./render-page.ts";
import { makeProfile } from "./testing.ts";

const HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)> <!-- \u2028\u202e \" ' & ${a}";

function makeInputs(name: string): ReportInputs {
  const document = makeProfile();
  const hostile = {
    ...document,
    model: { ...document.model, name },
    machine: { ...document.machine, cpu_model: name },
    summary: [name, ...document.summary],
    units: document.units.map((row) => (row.unit === 0 ? { ...row, name, unit_class: name } : row)),
    skipped: [{ phase: "decode", rows: 1, context: 0, reason: name }] as const,
  };
  return {
    noodlecoreVersion: "0.1.0",
    name,
    profiles: [{ name, document: hostile }],
    run: null,
    sources: [{ name, detail: name, damaged: true }],
  };
}

function hash(text: string): string {
  return `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
}

describe("the page", () => {
  let assets: PageAssets;
  let page: string;

  beforeAll(async () => {
    assets = await loadPageAssets();
    page = renderPage(buildReport(makeInputs("a model")), assets);
  });

  test("is the same for the same document", () => {
    expect(renderPage(buildReport(makeInputs("a model")), assets)).toBe(page);
  });

  test("allows exactly the scripts and styles that are in it, and nothing from outside", () => {
    const policy = /http-equiv="Content-Security-Policy" content="([^"]*)"/.exec(page)?.[1] ?? "";
    const scripts = [...page.matchAll(/<script>([\s\S]*?)<\/script>/g)].map((match) => match[1] ?? "");
    const styles = [...page.matchAll(/<style>([\s\S]*?)<\/style>/g)].map((match) => match[1] ?? "");
    expect(scripts).toHaveLength(3);
    expect(styles).toHaveLength(1);
    expect(policy).toContain(`script-src ${scripts.map(hash).join(" ")};`);
    expect(policy).toContain(`style-src ${styles.map(hash).join(" ")} ${hash("")};`);
    expect(policy.startsWith("default-src 'none';")).toBe(true);
    expect(policy).not.toMatch(/https?:|\*|unsafe-eval|script-src[^;]*unsafe/);
  });

  test("refers to nothing outside itself", () => {
    const own = page.replace(assets.plotly, "").replace(assets.script, "").replace(assets.style, "");
    const references = [...own.matchAll(/(?:src|href|action|data|poster)="([^"]*)"/g)].map((match) => match[1] ?? "");
    expect(references.length).toBeGreaterThan(3);
    for (const reference of references) expect(reference).toMatch(/^(#|data:,$)/);
    expect(own).not.toMatch(/@import|url\(/);
  });

  test("shows a hostile name as text", () => {
    const hostile = renderPage(buildReport(makeInputs(HOSTILE)), assets);
    const own = hostile.replace(assets.plotly, "").replace(assets.script, "");
    expect(own.match(/<script/g)).toHaveLength(4);
    expect(own.match(/<\/script/g)).toHaveLength(4);
    expect(own).not.toContain("<img");
    expect(own).not.toContain("<!--");
    expect(own).toContain("&lt;/script&gt;&lt;script&gt;alert(1)");
    expect(own).not.toContain("\u202e");
  });

  test("carries the charts' data so that it reads back as it was", () => {
    const document = buildReport(makeInputs(HOSTILE));
    const text = /<script type="application\/json" id="report-data">([\s\S]*?)<\/script>/.exec(
      renderPage(document, assets),
    )?.[1];
    const panels = document.sections.flatMap(({ charts }) => charts.flatMap((chart) => chart.panels));
    expect(JSON.parse(text ?? "")).toEqual(JSON.parse(JSON.stringify(panels)));
  });

  test("has a title, a sentence and a table with headings for each chart", () => {
    const charts = buildReport(makeInputs("a model")).sections.flatMap((section) => section.charts);
    expect(page.match(/<article /g)).toHaveLength(charts.length);
    expect(page.match(/<caption>/g)).toHaveLength(charts.length);
    for (const { id, sentence } of charts) {
      expect(sentence.length).toBeGreaterThan(20);
      expect(page).toContain(`aria-controls="${id}-numbers"`);
      expect(page).toContain(`id="${id}-numbers"`);
    }
    expect(page).toContain('<th scope="col"');
    expect(page).toContain('<th scope="row"');
  });

  test("has every id once", () => {
    const own = page.replace(assets.plotly, "").replace(assets.script, "");
    const ids = [...own.matchAll(/ id="([^"]*)"/g)].map((match) => match[1]);
    expect(new Set(ids).size).toBe(ids.length);
  });

  test("takes no asset that would end its own element", () => {
    const document = buildReport(makeInputs("a model"));
    for (const script of ["a</script>b", "a<!--b", "a\r\nb"]) {
      expect(() => renderPage(document, { ...assets, script })).toThrow(expect.objectContaining({ code: "INTERNAL" }));
    }
  });
});
