// Looks at a report in a real browser:
//   npx tsx scripts/check-report.ts REPORT.html [--screenshot FILE [--dark] [--width N] [--height N]]
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { findChromium, launchChromium } from "./browser.ts";
import { checkReport, withPage } from "./report-check.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    screenshot: { type: "string" },
    dark: { type: "boolean", default: false },
    width: { type: "string", default: "1280" },
    height: { type: "string" },
  },
});
const [path] = positionals;
if (path === undefined) {
  console.error("usage: check-report REPORT.html [--screenshot FILE [--dark] [--width N] [--height N]]");
  process.exit(2);
}
const chromium = findChromium();
if (chromium === null) {
  console.error("no Chromium: install Debian's package chromium, or set CHROMIUM_PATH");
  process.exit(2);
}

const browser = await launchChromium(chromium);
try {
  const { done, problems } = await checkReport(browser, resolve(path));
  for (const line of done) console.log(`ok      ${line}`);
  for (const line of problems) console.log(`WRONG   ${line}`);
  const { screenshot } = values;
  if (screenshot !== undefined) {
    const view = { theme: values.dark ? "dark" : "light", widthPx: Number(values.width) } as const;
    const complaints = await withPage(browser, resolve(path), view, async (page) => {
      const clip = { x: 0, y: 0, width: view.widthPx, height: Number(values.height) };
      await page.screenshot({ path: screenshot, fullPage: true, ...(values.height === undefined ? {} : { clip }) });
      return [];
    });
    for (const line of complaints) console.log(`WRONG   ${line}`);
  }
  if (problems.length > 0) process.exitCode = 1;
  else console.log(`${path}: nothing wrong`);
} finally {
  await browser.close();
}
