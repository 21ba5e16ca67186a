/** Seeded uniform numbers in [0, 1) (splitmix32). Each name has a stream of its own. */
export function makeRandom(seed: number, name: string): () => number {
  let state = Math.trunc(seed) ^ Math.trunc(seed / 2 ** 32);
  for (let i = 0; i < name.length; i++) state = Math.imul(state ^ name.charCodeAt(i), 0x01000193);
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let z = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return ((z ^ (z >>> 15)) >>> 0) / 2 ** 32;
  };
}
