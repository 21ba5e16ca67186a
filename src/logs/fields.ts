import { z } from "zod";

/** Beyond the year 2262 nothing is a moment. */
const MAX_MOMENT_NS = 2 ** 63;

/** Kinds of values in rows, each with what a reader of the published schemas has to know of it. */

/** A whole number from 0 on. */
export const count = (text: string): z.ZodNumber => z.number().int().nonnegative().describe(text);

/** A duration: whole nanoseconds from 0 on. */
export const durationNs = (text: string): z.ZodNumber => z.number().int().nonnegative().describe(`${text}, ns`);

/**
 * A moment. Whole nanoseconds, which may exceed 2^53 (wall times do; monotonic ones do on a machine that is up for more
 * than 104 days): such a number is a double, so it comes in steps of up to 256 ns.
 */
export const momentNs = (text: string): z.ZodNumber =>
  z.number().nonnegative().max(MAX_MOMENT_NS).multipleOf(1).describe(`${text}, ns`);

/** A whole number of nanoseconds that may be negative: a difference of clocks, or an estimate. */
export const signedNs = (text: string): z.ZodNumber => z.number().int().describe(`${text}, ns`);

export const text = (words: string): z.ZodString => z.string().describe(words);

export const bytes = (words: string): z.ZodNumber => z.number().int().nonnegative().describe(`${words}, bytes`);
