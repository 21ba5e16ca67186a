import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { checkLayers } from "./layers.ts";

const roots: string[] = [];

afterEach(() => {
  for (const root of roots.splice(0)) rmSync(root, { recursive: true });
});

function plant(files: Readonly<Record<string, string>>): string {
  const root = mkdtempSync(join(tmpdir(), "noodle-layers-"));
  roots.push(root);
  mkdirSync(join(root, "src"));
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  return root;
}

test("a downward import through the index passes", async () => {
  const report = await checkLayers(
    plant({
      "src/common/index.ts": "export const one = 1;\n",
      "src/gguf/index.ts": 'import { one } from "../common/index.ts";\nexport const two = one + 1;\n',
    }),
  );
  expect(report).toEqual({ modules: 2, violations: [] });
});

test("an upward import is found, also when it imports a type only", async () => {
  const report = await checkLayers(
    plant({
      "src/common/index.ts": 'import type { Two } from "../gguf/index.ts";\nexport type One = Two;\n',
      "src/gguf/index.ts": "export type Two = 2;\n",
    }),
  );
  expect(report.violations).toEqual(["layers-of-src/common: src/common/index.ts -> src/gguf/index.ts"]);
});

test("the inside of another folder is out of reach", async () => {
  const report = await checkLayers(
    plant({
      "src/common/errors.ts": "export const one = 1;\n",
      "src/gguf/index.ts": 'import { one } from "../common/errors.ts";\nexport const two = one + 1;\n',
    }),
  );
  expect(report.violations).toEqual(["only-the-index-of-src/common: src/gguf/index.ts -> src/common/errors.ts"]);
});

test("koffi is found outside src/engine/native, in tests too", async () => {
  const report = await checkLayers(
    plant({
      "src/engine/native/index.ts": 'import koffi from "koffi";\nexport const library = koffi;\n',
      "src/engine/stage.test.ts": 'import koffi from "koffi";\nexport const other = koffi;\n',
    }),
  );
  expect(report.violations).toEqual(["koffi-only-in-native: src/engine/stage.test.ts -> koffi"]);
});

test("a circle is found", async () => {
  const report = await checkLayers(
    plant({
      "src/common/a.ts": 'import { b } from "./b.ts";\nexport const a = (): unknown => b;\n',
      "src/common/b.ts": 'import { a } from "./a.ts";\nexport const b = (): unknown => a;\n',
    }),
  );
  expect(report.violations).toContain("no-circular: src/common/a.ts -> src/common/b.ts");
});

test("a folder that is not in the table, and an import that leads nowhere, are violations", async () => {
  const report = await checkLayers(plant({ "src/novel/index.ts": 'import "./missing.ts";\n' }));
  expect(report.violations).toEqual(["not in the table: src/novel", "unresolved: src/novel/index.ts -> ./missing.ts"]);
});

test("an empty tree reports no modules, which the command turns into a failure", async () => {
  expect((await checkLayers(plant({}))).modules).toBe(0);
});
