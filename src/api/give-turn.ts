/** Lets the event loop see to everybody else before what takes long goes on. */
export function giveTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
