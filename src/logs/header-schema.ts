import { z } from "zod";
import { count, durationNs, momentNs, text } from "./fields.ts";
import { type LogStream, nameSchema } from "./streams.ts";

/** What every row begins with. */
export function buildCommon<S extends LogStream>(stream: S) {
  return {
    schema: z.literal(nameSchema(stream)).describe("stream and version of this row"),
    seq: count(
      "number of the row in its stream and run, from 0; rows that were lost are counted, so they show as a gap",
    ),
    mono_ns: momentNs("when the row was taken, on the producer's monotonic clock"),
    time_unix_ns: momentNs("the same moment since 1970, from mono_ns and the header's anchor"),
    run_id: text("the process run that wrote the row"),
    producer_id: text("who wrote it, for example coordinator"),
  };
}

export function buildHeader<S extends LogStream>(stream: S) {
  return z
    .strictObject({
      ...buildCommon(stream),
      seq: count("number of the row behind the header; headers have none of their own"),
      event_type: z.literal("header").describe("the first row of every file"),
      stream: z.literal(stream).describe("the stream of this file"),
      file_index: count("number of this file in its chain, from 0"),
      versions: z
        .strictObject({
          noodlecore: text("release of NoodleCore"),
          node: text("version of Node.js"),
          engine_build: text("release of the engine; null where none is loaded").nullable(),
          engine_variant: text("CPU variant of the engine's library; null where none is loaded").nullable(),
        })
        .describe("what ran"),
      model: z
        .strictObject({
          name: text("the model's own name; null when it has none").nullable(),
          source_sha256: text("SHA-256 of the model file, hex; null while not known").nullable(),
          units: count("units of the model: embedding, blocks, head"),
        })
        .nullable()
        .describe("the model that is served; null while none is known"),
      plan: z
        .strictObject({
          epoch: count("number of the plan"),
          split: text("stages as A:B,B:C,..."),
          hash: text("SHA-256 over the plan's stages, hex"),
        })
        .nullable()
        .describe("the plan in force when the file was begun; null before the first"),
      host: z
        .strictObject({
          name: text("host name"),
          platform: text("system and processor family"),
          cpu: text("the processor's name"),
          cores: count("logical processors"),
        })
        .describe("the machine that wrote the file"),
      clock: z
        .strictObject({
          mono: text("where mono_ns comes from"),
          wall: text("where the anchor's wall time comes from"),
          anchor_mono_ns: momentNs("one moment on the monotonic clock"),
          anchor_unix_ns: momentNs("the same moment since 1970"),
          anchor_uncertainty_ns: durationNs("how far the two may lie apart"),
          resolution_ns: durationNs("step of the monotonic clock"),
        })
        .describe("how time_unix_ns follows from mono_ns"),
    })
    .describe("what holds for all rows of the file");
}
