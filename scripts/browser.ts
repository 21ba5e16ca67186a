import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";
import { type Browser, chromium, type Page } from "playwright-core";

const NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/** The Chromium of `CHROMIUM_PATH`, or the first one in the path; null when there is none. */
export function findChromium(): string | null {
  const named = process.env["CHROMIUM_PATH"];
  if (named !== undefined && named !== "") return isExecutable(named) ? named : null;
  const folders = (process.env["PATH"] ?? "").split(delimiter).filter((folder) => folder !== "");
  return NAMES.flatMap((name) => folders.map((folder) => join(folder, name))).find(isExecutable) ?? null;
}

/** Starts it without a window. The caller closes it. */
export function launchChromium(executablePath: string): Promise<Browser> {
  return chromium.launch({ executablePath, args: ["--disable-dev-shm-usage", "--font-render-hinting=none"] });
}

export interface View {
  readonly theme: "light" | "dark";
  readonly widthPx: number;
}

export const VIEWS: readonly View[] = [
  { theme: "light", widthPx: 1280 },
  { theme: "dark", widthPx: 375 },
];

export interface ViewRules {
  readonly offline: boolean;
  /** Requests that the page may make; any other is refused, and a complaint. */
  readonly mayRequest: (url: string) => boolean;
  /** Runs in the page before its own scripts. */
  readonly probe?: string;
}

const HEIGHT_PX = 900;

/**
 * Opens a page as in `view` and runs `look`. Returns its findings with what the browser complained about: requests,
 * errors, warnings, dialogs; and what `look` threw.
 */
export async function lookAt(
  browser: Browser,
  url: string,
  { theme, widthPx }: View,
  { offline, mayRequest, probe }: ViewRules,
  look: (page: Page) => Promise<readonly string[]>,
): Promise<readonly string[]> {
  const context = await browser.newContext({
    viewport: { width: widthPx, height: HEIGHT_PX },
    colorScheme: theme,
    reducedMotion: "reduce",
    offline,
    serviceWorkers: "block",
  });
  const complaints: string[] = [];
  try {
    await context.route("**/*", (route) => {
      const wanted = route.request().url();
      if (mayRequest(wanted)) return route.continue();
      complaints.push(`request for ${wanted.slice(0, 200)}`);
      return route.abort();
    });
    if (probe !== undefined) await context.addInitScript({ path: probe });
    const page = await context.newPage();
    page.on("pageerror", (error) => complaints.push(`page error: ${error.message}`));
    page.on("dialog", (dialog) => {
      complaints.push(`dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
    page.on("console", (message) => {
      if (message.type() === "error" || message.type() === "warning")
        complaints.push(`console ${message.type()}: ${message.text()}`);
    });
    await page.goto(url);
    const problems = await look(page);
    return [...problems, ...complaints];
  } catch (error) {
    return [...complaints, error instanceof Error ? error.message : String(error)];
  } finally {
    await context.close();
  }
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
