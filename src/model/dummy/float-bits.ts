const scratch = new DataView(new ArrayBuffer(4));

/** Bits of the nearest half-precision number, ties to even; beyond its range, infinity. */
export function toFloat16Bits(value: number): number {
  scratch.setFloat32(0, value);
  const bits = scratch.getUint32(0);
  const sign = (bits >>> 16) & 0x8000;
  const exponent = ((bits >>> 23) & 0xff) - 127;
  const mantissa = bits & 0x7fffff;
  if (exponent > 15) return sign | 0x7c00;
  if (exponent >= -14) {
    const rounded = roundShift(mantissa, 13);
    // A carry out of the mantissa belongs into the exponent, which is where the sum puts it.
    return sign | (((exponent + 15) << 10) + rounded);
  }
  if (exponent < -25) return sign;
  return sign | roundShift(mantissa | 0x800000, -exponent - 1);
}

/** Bits of the nearest bfloat16 number, ties to even. */
export function toBfloat16Bits(value: number): number {
  scratch.setFloat32(0, value);
  const bits = scratch.getUint32(0);
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

function roundShift(value: number, shift: number): number {
  const quotient = value >>> shift;
  const rest = value & ((1 << shift) - 1);
  const half = 1 << (shift - 1);
  return quotient + (rest > half || (rest === half && (quotient & 1) === 1) ? 1 : 0);
}
