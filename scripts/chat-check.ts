import type { Browser, Page } from "playwright-core";
import { lookAt, type View, VIEWS } from "./browser.ts";

export interface ChatCheck {
  /** What was looked at. */
  readonly done: readonly string[];
  readonly problems: readonly string[];
}

export interface ChatQuestions {
  /** Asked first, and waited for. */
  readonly short: string;
  /** Its answer is stopped midway. */
  readonly long: string;
}

const DEADLINE_MS = 60_000;
/** Of an answer, before it is stopped. */
const ENOUGH_CHARS = 12;

/** Where an answer stands. */
interface AnswerState {
  readonly text: string;
  readonly isOver: boolean;
  readonly facts: string;
  readonly wrong: string;
}

/**
 * Opens a server's chat page in light and dark, wide and narrow, asks, waits for the streamed answer, stops another one,
 * and lists what is wrong: on the page, and in the browser's console.
 *
 * @param url of the server
 */
export async function checkChat(browser: Browser, url: string, questions: ChatQuestions): Promise<ChatCheck> {
  const done: string[] = [];
  const problems: string[] = [];
  for (const view of VIEWS) {
    const name = `${view.theme}, ${view.widthPx} px`;
    const found = await withChat(browser, url, view, async (page) => {
      const wrong: string[] = [];
      const answer = await ask(page, questions.short);
      done.push(`${name}: an answer of ${answer.text.length} characters, ${answer.facts}`);
      if (answer.text === "") wrong.push("the answer is empty");
      if (!answer.facts.includes("tokens")) wrong.push(`the answer's facts are "${answer.facts}"`);
      if (answer.wrong !== "") wrong.push(`the answer failed: ${answer.wrong}`);
      const stopped = await askAndStop(page, questions.long);
      done.push(`${name}: stopped by Esc after ${stopped.text.length} characters`);
      if (stopped.text === "") wrong.push("nothing of the stopped answer is there");
      if (!stopped.facts.includes("stopped")) wrong.push(`the stopped answer's facts are "${stopped.facts}"`);
      wrong.push(...(await tryKeys(page)), ...(await findOverflow(page)));
      return wrong;
    });
    problems.push(...found.map((problem) => `${name}: ${problem}`));
  }
  return { done, problems };
}

/** Opens the page and runs `look` when it knows its models. Returns its findings with the browser's own complaints. */
export function withChat(
  browser: Browser,
  url: string,
  view: View,
  look: (page: Page) => Promise<readonly string[]>,
): Promise<readonly string[]> {
  const { origin } = new URL(url);
  const mayRequest = (wanted: string): boolean => new URL(wanted).origin === origin || wanted.startsWith("data:");
  return lookAt(browser, url, view, { offline: false, mayRequest }, async (page) => {
    await page.waitForSelector("#model:not([disabled])", { timeout: DEADLINE_MS });
    return look(page);
  });
}

/** Asks and waits for the whole answer. */
export async function ask(page: Page, question: string): Promise<AnswerState> {
  await page.fill("#input", question);
  await page.keyboard.press("Enter");
  return waitForAnswer(page, ({ isOver }) => isOver);
}

/** Asks, and stops the answer when some of it is there. */
export async function askAndStop(page: Page, question: string): Promise<AnswerState> {
  await page.fill("#input", question);
  await page.keyboard.press("Enter");
  await waitForAnswer(page, ({ text, isOver }) => isOver || text.trim().length >= ENOUGH_CHARS);
  await page.keyboard.press("Escape");
  return waitForAnswer(page, ({ isOver }) => isOver);
}

/** Looks at the last answer until it is as wanted, or the time is over. */
async function waitForAnswer(page: Page, isGood: (state: AnswerState) => boolean): Promise<AnswerState> {
  const deadline = performance.now() + DEADLINE_MS;
  for (;;) {
    const state = await readAnswer(page);
    if (isGood(state) || performance.now() > deadline) return state;
    await page.waitForTimeout(20);
  }
}

function readAnswer(page: Page): Promise<AnswerState> {
  return page.evaluate<AnswerState>(`(() => {
    const answer = [...document.querySelectorAll(".assistant")].at(-1);
    const read = (name) => answer?.querySelector(name)?.textContent ?? "";
    const isOver = answer !== undefined && !answer.classList.contains("waiting");
    return { text: read(".text"), isOver, facts: read(".facts"), wrong: read(".wrong") };
  })()`);
}

/** Shift+Enter begins a line and sends nothing; a new chat forgets. */
async function tryKeys(page: Page): Promise<string[]> {
  const problems: string[] = [];
  const count = (): Promise<number> => page.locator(".message").count();
  const before = await count();
  await page.fill("#input", "a");
  await page.keyboard.press("Shift+Enter");
  await page.keyboard.type("b");
  if ((await page.inputValue("#input")) !== "a\nb") problems.push("Shift+Enter does not begin a line");
  if ((await count()) !== before) problems.push("Shift+Enter sends");
  await page.fill("#input", "");
  await page.click("#toggle");
  if (!(await page.isVisible("#system"))) problems.push("the settings do not open");
  problems.push(...(await findOverflow(page)));
  await page.click("#toggle");
  await page.click("#reset");
  if ((await count()) !== 0) problems.push("a new chat does not forget the old one");
  return problems;
}

async function findOverflow(page: Page): Promise<string[]> {
  const widths = await page.evaluate<readonly [number, number]>(
    "[document.documentElement.scrollWidth, document.documentElement.clientWidth]",
  );
  return widths[0] > widths[1] ? [`the page is ${widths[0]} px wide in a window of ${widths[1]} px`] : [];
}
