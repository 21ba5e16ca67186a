import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildReport, loadPageAssets, readReportInputs, renderPage } from "../src/report/index.ts";
import { makeProfile, writeRunFolder } from "../src/report/testing.ts";
import { findChromium, launchChromium } from "./browser.ts";
import { checkReport } from "./report-check.ts";

const chromium = findChromium();

describe.skipIf(chromium === null)("a report in a real browser (skipped without Chromium)", () => {
  let folder: string;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "noodle-report-"));
    writeRunFolder(folder, { steps: 400, requests: 4, stages: ["0:5", "5:10", "10:14"], drift: 1.3 });
    const name = "<img src=x onerror=alert(1)> & <b>friends</b>";
    const profile = makeProfile();
    writeFileSync(join(folder, "profile.json"), JSON.stringify({ ...profile, model: { ...profile.model, name } }));
    const inputs = await readReportInputs([folder], { noodlecoreVersion: "0.1.0" });
    writeFileSync(join(folder, "report.html"), renderPage(buildReport(inputs), await loadPageAssets()));
  });

  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  async function check(page: string): Promise<readonly string[]> {
    const browser = await launchChromium(chromium ?? "");
    try {
      const { done, problems } = await checkReport(browser, page);
      expect(done.length).toBeGreaterThan(0);
      return problems;
    } finally {
      await browser.close();
    }
  }

  test("draws every chart offline, in both themes and widths, and works by keyboard", {
    timeout: 300_000,
  }, async () => {
    expect(await check(join(folder, "report.html"))).toEqual([]);
  });

  test("is found wrong when it is: the check itself can fail", { timeout: 300_000 }, async () => {
    const broken = join(folder, "broken.html");
    const page = readFileSync(join(folder, "report.html"), "utf8");
    writeFileSync(
      broken,
      page
        .replace("<h1>", '<h1 style="width: 2000px">')
        .replace('<main id="report"', '<img src="https://example.com/x.png" alt=""><main id="report"'),
    );
    const problems = (await check(broken)).join("\n");
    expect(problems).toContain("px wide in");
    expect(problems).toContain("img-src");
  });
});
