import { readFile } from "node:fs/promises";

/** The page that is served at `/`: one file of HTML with its script and style inside. It holds nothing secret. */
export async function readChatPage(): Promise<string> {
  const [html, style, script] = await Promise.all(
    ["chat.html", "chat.css", "chat.js"].map((name) => readFile(new URL(`./${name}`, import.meta.url), "utf8")),
  );
  // As functions: a `$` in the texts means nothing then.
  return (html ?? "").replace("/* style */", () => style ?? "").replace("/* script */", () => script ?? "");
}
