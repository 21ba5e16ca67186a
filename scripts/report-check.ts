import { fileURLToPath, pathToFileURL } from "node:url";
import type { Browser, Page } from "playwright-core";
import { lookAt, type View, VIEWS } from "./browser.ts";

export interface ReportCheck {
  /** What was looked at. */
  readonly done: readonly string[];
  readonly problems: readonly string[];
}

interface PlotState {
  readonly id: string;
  readonly width: number;
  readonly height: number;
  readonly marks: number;
}

interface FocusState {
  readonly words: string;
  readonly place: number;
  /** Of a button that opens one. */
  readonly table: string | null;
  readonly isSeen: boolean;
}

interface TableState {
  readonly isVisible: boolean;
  readonly expanded: string | null;
  readonly rows: number;
}

const PROBE = fileURLToPath(new URL("./report-probe.js", import.meta.url));
const DEADLINE_MS = 60_000;

/** Opens a report page in every theme and width, offline, and lists what is wrong with it. */
export async function checkReport(browser: Browser, path: string): Promise<ReportCheck> {
  const done: string[] = [];
  const problems: string[] = [];
  for (const [index, view] of VIEWS.entries()) {
    const name = `${view.theme}, ${view.widthPx} px`;
    const found = await withPage(browser, path, view, async (page) => {
      const plots = await readPlots(page);
      done.push(`${name}: ${plots.length} plots, ${plots.reduce((sum, { marks }) => sum + marks, 0)} marks`);
      const wrong = [...judgePlots(plots), ...(await findOverflow(page, "tables closed"))];
      wrong.push(...(await ask<readonly string[]>(page, "findPale()")));
      // The order of the keyboard does not depend on theme or width, and walking it takes long.
      if (index === 0) {
        const walk = await walkByKeyboard(page);
        done.push(...walk.done, "theme and printer: followed while the page is open");
        wrong.push(...walk.problems, ...(await switchTheme(page)));
      }
      await ask(page, "openTables()");
      return [...wrong, ...(await findOverflow(page, "tables open"))];
    });
    problems.push(...found.map((problem) => `${name}: ${problem}`));
  }
  return { done, problems };
}

/**
 * Opens the page as in `view` and runs `look` when all is drawn. Returns its findings with what the browser complained
 * about: requests, errors, violations of the page's policy.
 */
export function withPage(
  browser: Browser,
  path: string,
  view: View,
  look: (page: Page) => Promise<readonly string[]>,
): Promise<readonly string[]> {
  const url = pathToFileURL(path).href;
  const rules = { offline: true, mayRequest: (wanted: string) => wanted === url, probe: PROBE };
  return lookAt(browser, url, view, rules, async (page) => {
    await waitFor(page, "state()", (state) => state !== "");
    const state = await ask<string>(page, "state()");
    const undrawn = state === "drawn" ? [] : [`drawing ended as "${state}"`];
    const problems = await look(page);
    const violations = await ask<readonly string[]>(page, "violations()");
    return [...undrawn, ...problems, ...violations.map((words) => `policy: ${words}`)];
  });
}

/** Evaluates a call of the probe in the page. */
function ask<T>(page: Page, call: string): Promise<T> {
  return page.evaluate<T>(`window.reportProbe.${call}`);
}

/** Asks until the answer is good or the deadline is over; what then is wrong shows in the next question. */
async function waitFor(page: Page, call: string, isGood: (answer: unknown) => boolean): Promise<void> {
  const deadline = performance.now() + DEADLINE_MS;
  while (performance.now() < deadline && !isGood(await ask(page, call))) await page.waitForTimeout(100);
}

function readPlots(page: Page): Promise<readonly PlotState[]> {
  return ask(page, "readPlots()");
}

function judgePlots(plots: readonly PlotState[]): string[] {
  if (plots.length === 0) return ["the page has no plots"];
  return plots.flatMap(({ id, width, height, marks }) => {
    if (width < 200 || height < 100) return [`${id} is ${width} x ${height} px`];
    return marks === 0 ? [`${id} shows no mark`] : [];
  });
}

async function findOverflow(page: Page, when: string): Promise<string[]> {
  const found = await ask<string | null>(page, "findOverflow()");
  return found === null ? [] : [`${when}: ${found}`];
}

/** Goes through the whole page by Tab, and opens and closes each table by Enter and Space on the way. */
async function walkByKeyboard(page: Page): Promise<ReportCheck> {
  const problems: string[] = [];
  const buttons = await ask<number>(page, "countToggles()");
  const opened = new Set<string>();
  const stops: FocusState[] = [];
  while (stops.length < 50 + 4 * buttons) {
    await page.keyboard.press("Tab");
    const focus = await ask<FocusState | null>(page, "readFocus()");
    if (focus === null) break;
    if (focus.place === stops.at(-1)?.place) {
      problems.push(`the keyboard does not leave ${focus.words}`);
      break;
    }
    stops.push(focus);
    if (!focus.isSeen) problems.push(`the focus can't be seen on ${focus.words}`);
    if (focus.table === null || opened.has(focus.table)) continue;
    opened.add(focus.table);
    problems.push(...(await tryTable(page, focus.table)));
  }
  if (stops[0]?.words.includes("skip") !== true) problems.push("the first stop of the keyboard is not the skip link");
  if (opened.size !== buttons) problems.push(`${opened.size} of ${buttons} tables were reached by keyboard`);
  return { done: [`keyboard: ${stops.length} stops, ${opened.size} tables opened and closed`], problems };
}

async function tryTable(page: Page, id: string): Promise<string[]> {
  const problems: string[] = [];
  const presses = [
    ["Enter", true],
    ["Space", false],
    ["Space", true],
    ["Enter", false],
  ] as const;
  for (const [key, isOpen] of presses) {
    await page.keyboard.press(key);
    const state = await ask<TableState>(page, `readTable(${JSON.stringify(id)})`);
    if (state.isVisible !== isOpen || state.expanded !== String(isOpen))
      problems.push(`${key} on its button did not ${isOpen ? "open" : "close"} ${id}`);
    if (state.rows === 0) problems.push(`${id} has no rows`);
  }
  return problems;
}

/** The charts follow the theme and the printer while the page is open. */
async function switchTheme(page: Page): Promise<string[]> {
  const problems: string[] = [];
  const light = await ask<string>(page, "readTickColor()");
  const expectColor = async (isGood: (color: unknown) => boolean, problem: string): Promise<void> => {
    await waitFor(page, "readTickColor()", isGood);
    if (!isGood(await ask(page, "readTickColor()"))) problems.push(problem);
  };
  await page.emulateMedia({ colorScheme: "dark" });
  await expectColor((color) => color !== light, "the charts keep their colours in the dark");
  await page.emulateMedia({ colorScheme: "dark", media: "print" });
  await expectColor((color) => color === light, "the charts are not printed in light colours");
  await page.emulateMedia({ colorScheme: "dark", media: "screen" });
  await expectColor((color) => color !== light, "the charts stay as they were for the printer");
  await page.emulateMedia({ colorScheme: "light" });
  await expectColor((color) => color === light, "the charts do not come back to light");
  return [...problems, ...judgePlots(await readPlots(page))];
}
