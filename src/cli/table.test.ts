import { expect, test } from "vitest";
import { renderTable } from "./table.ts";

test("columns are as wide as their widest cell, numbers stand to the right", () => {
  const table = renderTable(
    [{ title: "unit" }, { title: "MB", align: "right" }],
    [
      ["embedding", "1"],
      ["head", "1024"],
    ],
  );
  expect(table.split("\n")).toEqual(["unit         MB", "---------  ----", "embedding     1", "head       1024", ""]);
});
