import { expect, test } from "vitest";
import { formatHostPort, parseHostPort } from "./addresses.ts";

test.each([
  ["127.0.0.1:7421", { host: "127.0.0.1", port: 7421 }],
  ["node-a", { host: "node-a", port: 7421 }],
  ["[::1]:80", { host: "::1", port: 80 }],
  ["0.0.0.0:0", { host: "0.0.0.0", port: 0 }],
])("%s is an address", (text, address) => {
  expect(parseHostPort(text, "--join")).toEqual(address);
});

test.each(["", ":7421", "a:b", "a:70000", "a b:1", "::1", "http://a:1"])("%j is none", (text) => {
  expect(() => parseHostPort(text, "--join")).toThrow(expect.objectContaining({ code: "USAGE" }));
});

test("an IPv6 address is written with brackets", () => {
  expect(formatHostPort({ host: "::1", port: 7421 })).toBe("[::1]:7421");
  expect(formatHostPort({ host: "node-a", port: 1 })).toBe("node-a:1");
});
