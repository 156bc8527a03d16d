/** Room for a piece of 64 KiB and what is written beyond it before somebody looks. */
const LEAST_BYTES = 96 * 1024;

/**
 * JSON written straight into bytes: `JSON.stringify` prints a float32 as the double it widens to (17 digits,
 * and slowly), while 6 to 9 digits tell every float32 apart.
 */
export class JsonBytes {
  private bytes: Buffer;
  private used = 0;

  constructor(capacity = LEAST_BYTES) {
    this.bytes = Buffer.allocUnsafe(capacity);
  }

  get length(): number {
    return this.used;
  }

  /** What was written since the last `take`; the memory is the caller's from now on. */
  take(): Buffer {
    const taken = this.bytes.subarray(0, this.used);
    this.bytes = Buffer.allocUnsafe(Math.max(LEAST_BYTES, this.used + this.used / 4));
    this.used = 0;
    return taken;
  }

  /** Plain ASCII, as it stands. */
  raw(text: string): void {
    this.reserve(text.length);
    this.used += this.bytes.write(text, this.used, 'latin1');
  }

  /** Any JSON value. */
  json(value: unknown): void {
    const text = JSON.stringify(value);
    this.reserve(text.length * 3);
    this.used += this.bytes.write(text, this.used, 'utf8');
  }

  uint(value: number): void {
    this.reserve(16);
    this.used = writeDigits(this.bytes, this.used, value);
  }

  /** The shortest decimal, at most 9 significant digits, that reads back as the same float32. */
  float32(value: number): void {
    this.reserve(FLOAT32_BYTES);
    this.used = writeFloat32(this.bytes, this.used, value);
  }

  floats(values: ArrayLike<number>, begin = 0, end = values.length): void {
    this.reserve((end - begin) * (FLOAT32_BYTES + 1) + 2);
    const { bytes } = this;
    let at = this.used;
    bytes[at++] = 91;
    for (let i = begin; i < end; i++) {
      if (i > begin) bytes[at++] = 44;
      at = writeFloat32(bytes, at, values[i]!);
    }
    bytes[at++] = 93;
    this.used = at;
  }

  /** As `floats`. There are only 65,536 float16: each is turned into text once. */
  halves(values: Float16Array, begin = 0, end = values.length): void {
    this.reserve((end - begin) * (HALF_BYTES + 1) + 2);
    const bits = new Uint16Array(values.buffer, values.byteOffset, values.length);
    const { bytes } = this;
    let at = this.used;
    bytes[at++] = 91;
    for (let i = begin; i < end; i++) {
      if (i > begin) bytes[at++] = 44;
      const half = bits[i]!;
      const length = halfLengths[half] || printHalf(half, values[i]!);
      const from = half * HALF_BYTES;
      for (let k = 0; k < length; k++) bytes[at + k] = halfTexts[from + k]!;
      at += length;
    }
    bytes[at++] = 93;
    this.used = at;
  }

  uints(values: ArrayLike<number>): void {
    this.reserve(values.length * 17 + 2);
    const { bytes } = this;
    let at = this.used;
    bytes[at++] = 91;
    for (let i = 0; i < values.length; i++) {
      if (i > 0) bytes[at++] = 44;
      at = writeDigits(bytes, at, values[i]!);
    }
    bytes[at++] = 93;
    this.used = at;
  }

  private reserve(extra: number): void {
    if (this.used + extra <= this.bytes.length) return;
    const grown = Buffer.allocUnsafe(Math.max(this.bytes.length * 2, this.used + extra));
    this.bytes.copy(grown, 0, 0, this.used);
    this.bytes = grown;
  }
}

/** Longest text of a float32 here: `-999999980000000000000`. */
const FLOAT32_BYTES = 22;
/** Longest text of a float16 here: `-0.00000011920929`, and some. */
const HALF_BYTES = 20;
const halfTexts = new Uint8Array(65_536 * HALF_BYTES);
const halfLengths = new Uint8Array(65_536);

function printHalf(half: number, value: number): number {
  const from = half * HALF_BYTES;
  const length = writeFloat32(halfTexts, from, value) - from;
  halfLengths[half] = length;
  return length;
}

const POWERS = Float64Array.from({ length: 18 }, (_, exponent) => 10 ** exponent);

/** Writes `value` at `at`, returns where the text ends. */
function writeFloat32(bytes: Uint8Array, at: number, value: number): number {
  if (value === 0) {
    bytes[at] = 48;
    return at + 1;
  }
  const magnitude = Math.abs(value);
  if (!(magnitude >= 1e-7 && magnitude < 1e6)) return writeAscii(bytes, at, rareFloat32(value));
  if (value < 0) bytes[at++] = 45;
  return writeDecimal(bytes, at, magnitude);
}

/**
 * `magnitude` = m / 10^places, m an integer of 6 to 9 digits. Both are exact in float64 (10^15 < 2^53), so
 * the quotient is what a JSON parser reads. Most values need 8 or 9 digits: 8 is tried first.
 */
function writeDecimal(bytes: Uint8Array, at: number, magnitude: number): number {
  let places = 7 - exponentOf(magnitude);
  let m = Math.round(magnitude * POWERS[places]!);
  if (Math.fround(m / POWERS[places]!) !== magnitude) {
    places++;
    m = Math.round(magnitude * POWERS[places]!);
  } else {
    for (let fewer = places - 1; fewer >= places - 2 && fewer >= 0; fewer--) {
      const shorter = Math.round(magnitude * POWERS[fewer]!);
      if (Math.fround(shorter / POWERS[fewer]!) !== magnitude) break;
      m = shorter;
      places = fewer;
    }
    while (places > 0 && m % 10 === 0) {
      m = (m / 10) | 0;
      places--;
    }
  }
  const whole = Math.floor(m / POWERS[places]!);
  at = writeDigits(bytes, at, whole);
  if (places === 0) return at;
  bytes[at++] = 46;
  const end = at + places;
  let rest = (m - whole * POWERS[places]!) | 0;
  for (let i = end - 1; i >= at; i--) {
    const next = (rest / 10) | 0;
    bytes[i] = 48 + rest - next * 10;
    rest = next;
  }
  return end;
}

function writeDigits(bytes: Uint8Array, at: number, value: number): number {
  if (value < 10) {
    bytes[at] = 48 + value;
    return at + 1;
  }
  let count = 2;
  while (value >= POWERS[count]!) count++;
  let rest = value;
  for (let i = at + count - 1; i >= at; i--) {
    const next = Math.floor(rest / 10);
    bytes[i] = 48 + rest - next * 10;
    rest = next;
  }
  return at + count;
}

function writeAscii(bytes: Uint8Array, at: number, text: string): number {
  for (let i = 0; i < text.length; i++) bytes[at + i] = text.charCodeAt(i);
  return at + text.length;
}

/** floor(log10(value)) for 1e-7 ≤ value < 1e6. */
function exponentOf(value: number): number {
  if (value >= 1) {
    let exponent = 0;
    while (value >= POWERS[exponent + 1]!) exponent++;
    return exponent;
  }
  if (value >= 0.1) return -1;
  if (value >= 0.01) return -2;
  if (value >= 0.001) return -3;
  let exponent = -4;
  while (value * POWERS[-exponent]! < 1) exponent--;
  return exponent;
}

/** Very large and very small ones. JSON knows no NaN and no infinity: null stands for them. */
function rareFloat32(value: number): string {
  if (!Number.isFinite(value)) return 'null';
  for (let digits = 1; digits < 9; digits++) {
    const text = value.toPrecision(digits);
    if (Math.fround(Number(text)) === value) return toShort(text);
  }
  return toShort(value.toPrecision(9));
}

function toShort(text: string): string {
  return String(Number(text));
}
