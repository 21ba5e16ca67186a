import { createHash } from "node:crypto";

/**
 * The content security policy of a page of one file: its own inline scripts and styles, and calls to the server that it
 * came from; nothing else.
 */
export function describePagePolicy(html: string): string {
  const scripts = hashInline(html, "script");
  const styles = hashInline(html, "style");
  return [
    "default-src 'none'",
    `script-src ${scripts}`,
    `style-src ${styles}`,
    "img-src 'self' data:",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join("; ");
}

function hashInline(html: string, tag: "script" | "style"): string {
  const blocks = [...html.matchAll(new RegExp(`<${tag}(?:\\s[^>]*)?>([\\s\\S]*?)</${tag}>`, "gi"))];
  const hashes = blocks.map(
    ([, text]) =>
      `'sha256-${createHash("sha256")
        .update(text ?? "")
        .digest("base64")}'`,
  );
  return hashes.length === 0 ? "'none'" : hashes.join(" ");
}
