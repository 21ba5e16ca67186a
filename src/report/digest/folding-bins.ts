export interface BinRules<T> {
  readonly create: () => T;
  /** Puts what `from` holds into `into`. */
  readonly merge: (into: T, from: T) => void;
  /** Width of a bin at the beginning. */
  readonly width: number;
  /** Never more bins than this that hold something. */
  readonly maxBins: number;
}

export interface Bin<T> {
  /** First position of the bin. */
  readonly from: number;
  /** First position behind it. */
  readonly end: number;
  readonly value: T;
}

/** Bins along a line of unknown length: when they become too many, every two neighbours become one. */
export class FoldingBins<T> {
  readonly #rules: BinRules<T>;
  #width: number;
  #bins = new Map<number, T>();

  constructor(rules: BinRules<T>) {
    this.#rules = rules;
    this.#width = rules.width;
  }

  get width(): number {
    return this.#width;
  }

  /** The bin of a finite position. */
  at(position: number): T {
    const index = Math.floor(position / this.#width);
    const known = this.#bins.get(index);
    if (known !== undefined) return known;
    this.#bins.set(index, this.#rules.create());
    while (this.#bins.size > this.#rules.maxBins) this.#fold();
    return this.at(position);
  }

  /** Bins that hold something, in order. */
  list(): readonly Bin<T>[] {
    return [...this.#bins]
      .sort(([a], [b]) => a - b)
      .map(([index, value]) => ({ from: index * this.#width, end: (index + 1) * this.#width, value }));
  }

  #fold(): void {
    this.#width *= 2;
    const folded = new Map<number, T>();
    for (const [index, value] of [...this.#bins].sort(([a], [b]) => a - b)) {
      const target = Math.floor(index / 2);
      const into = folded.get(target);
      if (into === undefined) folded.set(target, value);
      else this.#rules.merge(into, value);
    }
    this.#bins = folded;
  }
}
