// Child process of `noodle quantize`: one job as its argument, one answer on stdout.
import { NoodleError } from "../common/index.ts";
import { loadEngine, quantizeModel } from "../engine/index.ts";
import type { QuantizeAnswer, QuantizeJob } from "./quantize-child.ts";

function run(job: QuantizeJob): QuantizeAnswer {
  try {
    loadEngine(job.engine);
    return { bytes: quantizeModel(job.input, job.output, job.type, job.threads).bytes };
  } catch (thrown) {
    return { error: NoodleError.from(thrown).toJSON() };
  }
}

process.stdout.write(JSON.stringify(run(JSON.parse(process.argv[2] ?? "") as QuantizeJob)));
