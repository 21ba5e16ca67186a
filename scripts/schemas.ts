import { z } from "zod";
import { LOG_SCHEMAS } from "../src/logs/index.ts";
import { costModelSchema, profileSchema } from "../src/profile/index.ts";
import { clusterSchema, modelPlanSchema } from "../src/placement/index.ts";
import { problemSchema } from "../src/planner/index.ts";
import { whatifSchema } from "../src/cli/whatif-document.ts";
import { reportSchema } from "../src/report/index.ts";
import { simulationSchema } from "../src/sim/index.ts";
import { RequestTraceSchema } from "../src/trace/index.ts";
import { validationSchema } from "../src/validate/index.ts";

/** Every document and log line whose form is published, by the name in its `schema` field. */
export const PUBLISHED_SCHEMAS: Readonly<Record<string, z.ZodType>> = {
  "noodle.profile.v1": profileSchema,
  "noodle.cost_model.v1": costModelSchema,
  "noodle.trace.v1": RequestTraceSchema,
  "noodle.problem.v1": problemSchema,
  "noodle.cluster.v1": clusterSchema,
  "noodle.model_plan.v1": modelPlanSchema,
  "noodle.simulation.v1": simulationSchema,
  "noodle.validation.v1": validationSchema,
  "noodle.whatif.v1": whatifSchema,
  "noodle.report.v1": reportSchema,
  ...LOG_SCHEMAS,
};

export function nameSchemaFile(name: string): string {
  return `${name}.schema.json`;
}

/**
 * The file of a schema in `schemas/`, ready to be written. It describes what is read: keys that a later release adds
 * are allowed.
 */
export function renderSchema(name: string, schema: z.ZodType): string {
  const { $schema, ...rest } = z.toJSONSchema(schema, {
    io: "input",
    target: "draft-2020-12",
    // Says of TypeScript's types what a file has no use for.
    override: ({ jsonSchema }) => {
      delete jsonSchema.readOnly;
    },
  });
  return `${JSON.stringify({ $schema, title: name, ...rest }, null, 2)}\n`;
}
