import { NoodleError } from "../common/index.ts";
import type { ActiveToxic, Toxic } from "./toxics.ts";

const MOST_MS = 86_400_000;
const MOST_BYTES = 2 ** 40;

/** @throws NoodleError `USAGE` naming the figure that is out of its range */
export function checkToxic(toxic: Toxic): ActiveToxic {
  const { name, direction = "downstream", toxicity = 1 } = toxic;
  const check = (figure: string, value: number, min: number, max: number): void => {
    if (value >= min && value <= max) return;
    throw new NoodleError("USAGE", `toxic "${name}": ${figure} is ${value}, it must be from ${min} to ${max}`);
  };
  check("toxicity", toxicity, 0, 1);
  switch (toxic.type) {
    case "latency":
      check("latencyMs", toxic.latencyMs, 0, MOST_MS);
      check("jitterMs", toxic.jitterMs ?? 0, 0, MOST_MS);
      break;
    case "bandwidth":
      check("bytesPerMs", toxic.bytesPerMs, 1e-3, MOST_BYTES);
      break;
    case "slow_close":
      check("delayMs", toxic.delayMs, 0, MOST_MS);
      break;
    case "timeout":
    case "reset_peer":
      check("timeoutMs", toxic.timeoutMs, 0, MOST_MS);
      break;
    case "slicer":
      check("averageBytes", toxic.averageBytes, 1, MOST_BYTES);
      check("variationBytes", toxic.variationBytes ?? 0, 0, toxic.averageBytes - 1);
      check("delayMs", toxic.delayMs ?? 0, 0, MOST_MS);
      break;
    case "limit_data":
      check("bytes", toxic.bytes, 0, MOST_BYTES);
      break;
    case "corrupt":
      check("everyBytes", toxic.everyBytes, 1, MOST_BYTES);
      break;
    case "half_open":
    case "accept_only":
      break;
    default:
      toxic satisfies never;
  }
  return { ...toxic, direction, toxicity };
}
