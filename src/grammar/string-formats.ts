/** Formats of JSON Schema that can be held to, as GBNF. Others say something about a string that a grammar can't. */
const HEX = "[0-9a-fA-F]";
const OCTET = '("25" [0-5] | "2" [0-4] [0-9] | "1" [0-9]{2} | [1-9] [0-9] | [0-9])';
/** The 29th of February is left out: whether it is there depends on the year. */
const DATE =
  '[0-9]{4} "-" (("01" | "03" | "05" | "07" | "08" | "10" | "12") "-" ("0" [1-9] | [12] [0-9] | "3" [01])' +
  ' | ("04" | "06" | "09" | "11") "-" ("0" [1-9] | [12] [0-9] | "30") | "02-" ("0" [1-9] | "1" [0-9] | "2" [0-8]))';
const HOUR_AND_MINUTE = '([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9]';
const TIME = `${HOUR_AND_MINUTE} ":" [0-5] [0-9] ("." [0-9]{1,9})? ("Z" | [-+] ${HOUR_AND_MINUTE})`;

export const STRING_FORMATS: ReadonlyMap<string, string> = new Map([
  ["date", DATE],
  ["time", TIME],
  ["date-time", `${DATE} "T" ${TIME}`],
  ["uuid", `${HEX}{8} "-" ${HEX}{4} "-" ${HEX}{4} "-" ${HEX}{4} "-" ${HEX}{12}`],
  ["ipv4", `${OCTET} "." ${OCTET} "." ${OCTET} "." ${OCTET}`],
  ["email", `[a-zA-Z0-9_+-]{1,32} ("." [a-zA-Z0-9_+-]{1,31})? "@" [a-zA-Z0-9]{1,30} ("." [a-zA-Z]{2,20}){1,3}`],
]);
