import { expect, test } from "vitest";
import { readOtlpUrl } from "./otlp-url.ts";

test.each([
  ["http://localhost:4318", "http://localhost:4318/v1/traces"],
  ["https://collector/", "https://collector/v1/traces"],
  ["http://collector:4318/v1/traces", "http://collector:4318/v1/traces"],
  ["http://collector/own/path?key=1", "http://collector/own/path?key=1"],
])("%s is posted to %s", (text, url) => {
  expect(readOtlpUrl(text, "--otlp")).toBe(url);
});

test.each(["", "localhost:4318", "grpc://localhost:4317", "file:///etc/passwd"])("%s is refused", (text) => {
  expect(() => readOtlpUrl(text, "--otlp")).toThrow(expect.objectContaining({ code: "USAGE" }));
});
