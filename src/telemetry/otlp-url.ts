import { NoodleError } from "../common/index.ts";

const TRACES_PATH = "/v1/traces";

/**
 * Where to post spans: a base such as `http://collector:4318` gets the standard path, a URL with a path of its own is
 * taken as it is.
 *
 * @throws USAGE naming `option` unless it is an http or https URL
 */
export function readOtlpUrl(text: string, option: string): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  if (url === null || (url.protocol !== "http:" && url.protocol !== "https:")) {
    throw new NoodleError("USAGE", `${option} "${text}" is not a URL such as http://localhost:4318`);
  }
  if (url.pathname === "/" || url.pathname === "") url.pathname = TRACES_PATH;
  return url.href;
}
