/**
 * A small fast generator of 32-bit numbers (sfc32 by Chris Doty-Humphrey, public domain): integer arithmetic only, so
 * the same seed gives the same numbers on every machine.
 */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  /** @param label tells streams of the same seed apart, for example a tensor's name */
  constructor(seed: number, label: string) {
    this.#a = hashText(label);
    this.#b = seed >>> 0;
    this.#c = Math.floor(seed / 2 ** 32) >>> 0;
    for (let i = 0; i < 15; i++) this.nextUint32();
  }

  nextUint32(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }

  /** Uniform in [-1, 1), exact in 16 bits. */
  nextUniform(): number {
    return (this.nextUint32() >>> 16) / 32_768 - 1;
  }

  /** About normal with variance 1: a sum of four uniforms, never beyond 3.47. */
  nextNormal(): number {
    const sum = this.nextUniform() + this.nextUniform() + this.nextUniform() + this.nextUniform();
    // The variance of one uniform is 1/3.
    return sum * NORMAL_SCALE;
  }

  /** Fills whole words; state is kept in locals for speed. */
  fillWords(words: Uint32Array): void {
    let [a, b, c, counter] = [this.#a, this.#b, this.#c, this.#counter];
    for (let i = 0; i < words.length; i++) {
      const sum = (a + b + counter) | 0;
      counter = (counter + 1) | 0;
      a = b ^ (b >>> 9);
      b = (c + (c << 3)) | 0;
      c = (((c << 21) | (c >>> 11)) + sum) | 0;
      words[i] = sum;
    }
    this.#a = a;
    this.#b = b;
    this.#c = c;
    this.#counter = counter;
  }
}

/** Square root of 3/4, written out: no library function may differ in its last bit. */
const NORMAL_SCALE = 0.8660254037844386;

/** FNV-1a, 32 bits, over UTF-16 code units. */
function hashText(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}
