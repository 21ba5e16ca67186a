// Looks at a server's chat page in a real browser:
//   npx tsx scripts/check-chat.ts URL [--screenshot FILE [--dark] [--width N]] [--prompt TEXT] [--long TEXT]
import { parseArgs } from "node:util";
import { findChromium, launchChromium } from "./browser.ts";
import { ask, askAndStop, checkChat, withChat } from "./chat-check.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    screenshot: { type: "string" },
    dark: { type: "boolean", default: false },
    width: { type: "string", default: "1280" },
    prompt: { type: "string", default: "Once upon a time there was a king." },
    long: { type: "string", default: "Tell a long story about a king who had three sons." },
  },
});
const [url] = positionals;
if (url === undefined || !URL.canParse(url)) {
  console.error("usage: check-chat URL [--screenshot FILE [--dark] [--width N]] [--prompt TEXT] [--long TEXT]");
  process.exit(2);
}
const chromium = findChromium();
if (chromium === null) {
  console.error("no Chromium: install Debian's package chromium, or set CHROMIUM_PATH");
  process.exit(2);
}

const browser = await launchChromium(chromium);
try {
  const { done, problems } = await checkChat(browser, url, { short: values.prompt, long: values.long });
  for (const line of done) console.log(`ok      ${line}`);
  for (const line of problems) console.log(`WRONG   ${line}`);
  const { screenshot } = values;
  if (screenshot !== undefined) {
    const view = { theme: values.dark ? "dark" : "light", widthPx: Number(values.width) } as const;
    const complaints = await withChat(browser, url, view, async (page) => {
      await ask(page, values.prompt);
      await askAndStop(page, values.long);
      await page.screenshot({ path: screenshot });
      return [];
    });
    for (const line of complaints) console.log(`WRONG   ${line}`);
    if (complaints.length > 0) process.exitCode = 1;
  }
  if (problems.length > 0) process.exitCode = 1;
  else console.log(`${url}: nothing wrong`);
} finally {
  await browser.close();
}
