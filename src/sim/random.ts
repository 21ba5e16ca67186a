import { expOf, logOf } from "./elementary.ts";

/**
 * Seeded random numbers (xoshiro128**, seeded by splitmix32), equal on every machine. Every purpose has a stream of its
 * own, so that two plans under the same seed meet the same arrivals, lengths and disturbances.
 */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #d: number;
  #spare = Number.NaN;

  /** @param stream what the numbers are for */
  constructor(seed: number, stream: string) {
    let state = Math.trunc(seed) ^ Math.trunc(seed / 2 ** 32);
    for (let i = 0; i < stream.length; i++) state = Math.imul(state ^ stream.charCodeAt(i), 0x01000193);
    const next = (): number => {
      state = (state + 0x9e3779b9) | 0;
      let z = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
      z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
      return z ^ (z >>> 15);
    };
    [this.#a, this.#b, this.#c, this.#d] = [next(), next(), next(), next() | 1];
  }

  /** 0 to 2^32 - 1. */
  #next32(): number {
    const product = Math.imul(this.#b, 5);
    const result = Math.imul((product << 7) | (product >>> 25), 9) >>> 0;
    const shifted = this.#b << 9;
    this.#c ^= this.#a;
    this.#d ^= this.#b;
    this.#b ^= this.#c;
    this.#a ^= this.#d;
    this.#c ^= shifted;
    this.#d = (this.#d << 11) | (this.#d >>> 21);
    return result;
  }

  /** Uniform in (0, 1): never 0, so that it has a logarithm. */
  uniform(): number {
    return (this.#next32() + 0.5) / 2 ** 32;
  }

  /** A whole number, each from `min` to `max` as likely as the others. */
  integer(min: number, max: number): number {
    return min + Math.floor(this.uniform() * (max - min + 1));
  }

  exponential(mean: number): number {
    return -mean * logOf(this.uniform());
  }

  /** Mean 0, variance 1 (Marsaglia's polar method). */
  normal(): number {
    if (!Number.isNaN(this.#spare)) {
      const spare = this.#spare;
      this.#spare = Number.NaN;
      return spare;
    }
    for (;;) {
      const x = 2 * this.uniform() - 1;
      const y = 2 * this.uniform() - 1;
      const square = x * x + y * y;
      if (square >= 1 || square === 0) continue;
      const scale = Math.sqrt((-2 * logOf(square)) / square);
      this.#spare = y * scale;
      return x * scale;
    }
  }

  /** A factor of mean 1. @param sigma of its logarithm */
  lognormal(sigma: number): number {
    return sigma === 0 ? 1 : expOf(sigma * this.normal() - 0.5 * sigma * sigma);
  }
}
