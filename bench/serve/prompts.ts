import { makePrompt } from "../models.ts";

export const STREAMS = 8;
/** Prompts of two repetitions, and of two streams, never begin alike. */
const seedOf = (repetition: number, stream: number): number => (repetition + 1) * 101 + stream;

export function prompt(rows: number, repetition: number, stream: number): readonly number[] {
  return [...makePrompt(rows, seedOf(repetition, stream))];
}
