import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { validationSchema } from "../validate/index.ts";
import { makeValidationPage } from "./validation-page.ts";
import { describeValidation, renderValidation } from "./validation-view.ts";

const path = new URL("../../bench/validation/135m/measured.json", import.meta.url);
const document = validationSchema.parse(JSON.parse(readFileSync(path, "utf8")));

describe("a validation", () => {
  it("is shown plan by plan and stage by stage, predicted beside measured", () => {
    const text = renderValidation(document);
    for (const { name, split, tokens_per_s } of document.plans) {
      const line = text.split("\n").find((each) => each.startsWith(name) && each.includes(split));
      expect(line).toContain(tokens_per_s.predicted.toFixed(2));
      expect(line).toContain(tokens_per_s.measured.mean.toFixed(2));
    }
    const stages = document.plans.flatMap(({ split }) => split.split(","));
    for (const stage of stages) expect(text).toContain(stage);
  });

  it("says what it comes to, and so does its page", () => {
    const [first] = describeValidation(document);
    expect(first).toContain(`${document.plans.length} plans`);
    const page = makeValidationPage(document);
    expect(page.statements).toContain(first);
    expect(page.sections.flatMap(({ charts }) => charts)).toHaveLength(3);
    expect(page.figures).toHaveLength(document.summary.goals.length);
  });
});
