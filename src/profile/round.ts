/** Six significant digits: finer than any of these figures is known, and half of the document's size. */
export function roundFigure(value: number): number {
  return Number(value.toPrecision(6));
}
