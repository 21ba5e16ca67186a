import { listCounts, reachEnds } from "../reach.ts";
import type { Kinds } from "../kinds.ts";
import type { Piece } from "../instance.ts";
import type { Found, ProbeOptions } from "./longest.ts";
import { classifyLinks, digitOf, Odometer, type StateSpace } from "./state-space.ts";

const CHECK_EVERY = 256;

/**
 * Like `probeLongest`, keeping every prefix of units that can be reached, as bits: exact for tables that are not monotone
 * and for nodes that cannot serve every unit.
 */
export function probeReachable(space: StateSpace, options: Omit<ProbeOptions, "relaxed">): Found | null {
  const { kinds, strides, counts, size } = space;
  const { limitMs, maxNodes, fewest, deadline } = options;
  const { units } = kinds.instance;
  const words = (units >>> 5) + 1;
  const classes = classifyLinks(space, limitMs);
  const allowed = kinds.members.map((_, kind) => listAllowed(kinds, kind, limitMs, words));
  const reached = new Uint32Array(size * classes.count * words);
  const inBits = new Uint32Array(words);
  const outBits = new Uint32Array(words);
  const odometer = new Odometer(space);

  const collect = (state: number, kind: number): boolean => {
    inBits.fill(0);
    if (state === 0) inBits[0] = 1;
    let any = state === 0;
    for (let c = state > 0 ? 0 : classes.count; c < classes.count; c++) {
      if ((((classes.followers[c] as number) >>> kind) & 1) === 0) continue;
      const at = (state * classes.count + c) * words;
      for (let w = 0; w < words; w++) {
        const bits = reached[at + w] as number;
        inBits[w] = (inBits[w] as number) | bits;
        any = any || bits !== 0;
      }
    }
    return any;
  };
  const hasBit = (bits: Uint32Array, at: number): boolean => (((bits[at >>> 5] as number) >>> (at & 31)) & 1) === 1;

  let best: { state: number; kind: number; nodes: number } | null = null;
  for (let state = 0; state < size; state++, odometer.advance()) {
    if (state % CHECK_EVERY === 0) deadline.check();
    if (odometer.used >= (best === null ? maxNodes : Math.min(maxNodes, best.nodes - 1))) continue;
    for (let kind = 0; kind < counts.length; kind++) {
      if ((odometer.digits[kind] as number) >= (counts[kind] as number) || !collect(state, kind)) continue;
      spread(inBits, outBits, allowed[kind] as Uint32Array, words);
      if (hasBit(outBits, units)) {
        best = { state, kind, nodes: odometer.used + 1 };
        if (!fewest) break;
        continue;
      }
      const to = ((state + (strides[kind] as number)) * classes.count + (classes.classOf[kind] as number)) * words;
      for (let w = 0; w < words; w++) reached[to + w] = (reached[to + w] as number) | (outBits[w] as number);
    }
    if (best !== null && !fewest) break;
  }
  if (best === null) return null;

  const pieces: Piece[] = [];
  let { state, kind } = best;
  let end = units;
  for (;;) {
    collect(state, kind);
    const table = allowed[kind] as Uint32Array;
    let first = 0;
    while (!hasBit(inBits, first) || !hasBit(table.subarray(first * words, (first + 1) * words), end)) first++;
    pieces.unshift({ node: kind, first, end });
    if (state === 0) return { pieces, nodes: best.nodes };
    const here = state;
    const previous = counts.findIndex((_, candidate) => {
      const c = classes.classOf[candidate] as number;
      if ((((classes.followers[c] as number) >>> kind) & 1) === 0 || digitOf(space, here, candidate) === 0)
        return false;
      if (!collect(here - (strides[candidate] as number), candidate)) return false;
      spread(inBits, outBits, allowed[candidate] as Uint32Array, words);
      return hasBit(outBits, first);
    });
    if (previous === -1) throw new RangeError(`no step leads to ${first} units in state ${state}`);
    kind = previous;
    state -= strides[kind] as number;
    end = first;
  }
}

/** All prefixes that one more stage makes of the prefixes in `inBits`. */
function spread(inBits: Uint32Array, outBits: Uint32Array, allowed: Uint32Array, words: number): void {
  outBits.fill(0);
  for (let word = 0; word < words; word++) {
    let bits = inBits[word] as number;
    while (bits !== 0) {
      const bit = 31 - Math.clz32(bits);
      bits = (bits & ~(1 << bit)) >>> 0;
      const at = (word * 32 + bit) * words;
      for (let w = word; w < words; w++) outBits[w] = (outBits[w] as number) | (allowed[at + w] as number);
    }
  }
}

/** For each first unit the ends that a node of the kind may serve to, as bits. */
function listAllowed(kinds: Kinds, kind: number, limitMs: number, words: number): Uint32Array {
  const { instance } = kinds;
  const node = kinds.node(kind);
  const { units } = instance;
  const bits = new Uint32Array((units + 1) * words);
  const add = (first: number, end: number): void => {
    const at = first * words + (end >>> 5);
    bits[at] = (bits[at] as number) | (1 << (end & 31));
  };
  const ends = reachEnds(instance, node, limitMs);
  const counts = listCounts(instance, node, limitMs);
  const isTable = instance.node(node).tableMs !== null;
  for (let first = 0; first < units; first++) {
    if (isTable) {
      for (const count of counts) {
        if (first + count <= units && instance.fits(node, first, first + count)) add(first, first + count);
      }
    } else {
      for (let end = first + 1; end <= (ends[first] as number); end++) add(first, end);
    }
  }
  return bits;
}
