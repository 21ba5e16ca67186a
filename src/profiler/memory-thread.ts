// Thread of the memory test: touches its part, waits for the others, reads until it is told to stop.
import { workerData } from "node:worker_threads";
import { CONTROL, type MemoryTask, PIECE_BYTES } from "./memory-rate.ts";

const CONTENT = 0x55;
const ABSENT = 0xaa;

const { shared, control, startByte, endByte } = workerData as MemoryTask;
const flags = new Int32Array(control);
const part = Buffer.from(shared, startByte, endByte - startByte);
// Pages that were never written are all one page of zeros to the system.
part.fill(CONTENT);
Atomics.add(flags, CONTROL.ready, 1);
Atomics.wait(flags, CONTROL.start, 0);

for (let at = 0; Atomics.load(flags, CONTROL.stop) === 0; at = (at + PIECE_BYTES) % part.length) {
  if (part.subarray(at, at + PIECE_BYTES).includes(ABSENT)) throw new Error("found what was not written");
  Atomics.add(flags, CONTROL.pieces, 1);
}
