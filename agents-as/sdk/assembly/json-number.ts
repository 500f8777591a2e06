/**
 * Decimal text to numbers, exactly. The standard library's parseFloat is not used: with 16
 * digits and a large exponent it is wrong by powers of ten (9.431686855220182e43 becomes e37).
 */

const POWERS: StaticArray<f64> = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22];
/** A power of ten that f64 holds exactly, and a mantissa that it does. */
const EXACT_POWER_MAX: i32 = 22;
const EXACT_MANTISSA_MAX: u64 = 1 << 53;
const EXPONENT_MAX: i32 = 100_000;

/** The f64 nearest to a JSON number, ties to even. `raw` must be a well-formed JSON number. */
export function nearestF64(raw: string): f64 {
  const negative = raw.charCodeAt(0) == 0x2d;
  let mantissa: u64 = 0;
  let digits = 0;
  let exponent = 0;
  let fraction = false;
  let i = negative ? 1 : 0;
  const length = raw.length;
  for (; i < length; i++) {
    const unit = raw.charCodeAt(i);
    if (unit == 0x2e) fraction = true;
    else if ((unit | 0x20) == 0x65) break;
    else {
      if (digits < 19) mantissa = mantissa * 10 + (unit - 0x30);
      if (mantissa != 0) digits++;
      if (fraction) exponent--;
    }
  }
  if (digits == 0) return negative ? -0.0 : 0.0;
  exponent += exponentAt(raw, i + 1);
  const exact = digits <= 19 && mantissa <= EXACT_MANTISSA_MAX && exponent >= -EXACT_POWER_MAX && exponent <= EXACT_POWER_MAX;
  const scaled = exact ? (exponent < 0 ? <f64>mantissa / unchecked(POWERS[-exponent]) : <f64>mantissa * unchecked(POWERS[exponent])) : new Decimal(raw, exponent).toF64();
  return negative ? -scaled : scaled;
}

function exponentAt(raw: string, from: i32): i32 {
  if (from >= raw.length) return 0;
  const sign = raw.charCodeAt(from);
  let value = 0;
  for (let i = sign == 0x2d || sign == 0x2b ? from + 1 : from; i < raw.length; i++) value = min(value * 10 + raw.charCodeAt(i) - 0x30, EXPONENT_MAX);
  return sign == 0x2d ? -value : value;
}

/** Digits kept after the first that is not 0: more than any f64 needs to be told apart from its neighbours. */
const DIGITS_MAX: i32 = 800;
/** Doubling puts digits in front: at most one for each power of ten below 1. */
const FRONT: i32 = 420;
const SIZE: i32 = FRONT + DIGITS_MAX + 64;
/** Bits shifted at a time: a digit times 2^SHIFT_MAX and a carry fit 64 bits. */
const SHIFT_MAX: i32 = 56;

/** A decimal fraction, 0.d1d2d3… × 10^point, that can be doubled and halved exactly. */
class Decimal {
  private readonly digits: StaticArray<u8> = new StaticArray<u8>(SIZE);
  private first: i32 = FRONT;
  private end: i32 = FRONT;
  private point: i32 = 0;
  /** Digits other than 0 were dropped. */
  private more: bool = false;

  /** The digits of `raw`, the last one of which stands for 10^exponent. */
  constructor(raw: string, exponent: i32) {
    let count = 0;
    for (let i = 0; i < raw.length; i++) {
      const unit = raw.charCodeAt(i);
      if ((unit | 0x20) == 0x65) break;
      const digit = unit - 0x30;
      if (<u32>digit > 9 || (count == 0 && digit == 0)) continue;
      count++;
      if (count <= DIGITS_MAX) this.digits[this.end++] = <u8>digit;
      else if (digit != 0) this.more = true;
    }
    this.point = count + exponent;
    this.trim();
  }

  private trim(): void {
    while (this.end > this.first && this.digits[this.end - 1] == 0) this.end--;
  }

  private double(bits: i32): void {
    let carry: u64 = 0;
    for (let i = this.end - 1; i >= this.first; i--) {
      carry += (<u64>this.digits[i]) << bits;
      this.digits[i] = <u8>(carry % 10);
      carry /= 10;
    }
    while (carry > 0) {
      this.digits[--this.first] = <u8>(carry % 10);
      carry /= 10;
      this.point++;
    }
    this.trim();
  }

  private halve(bits: i32): void {
    const mask = (<u64>1 << bits) - 1;
    let rest: u64 = 0;
    let to = this.first;
    let leading = true;
    for (let from = this.first; from < this.end || rest != 0; from++) {
      rest = rest * 10 + (from < this.end ? this.digits[from] : 0);
      const digit = <u8>(rest >> bits);
      rest &= mask;
      if (leading && digit == 0) {
        this.point--;
        continue;
      }
      leading = false;
      if (to < this.first + DIGITS_MAX) this.digits[to++] = digit;
      else if (digit != 0) this.more = true;
    }
    this.end = to;
    this.trim();
  }

  toF64(): f64 {
    if (this.point > 310) return Infinity;
    if (this.point < -330) return 0;
    let exponent = 0;
    while (this.point > 0) {
      const bits = this.point == 1 ? 1 : min((this.point - 1) * 3, SHIFT_MAX);
      this.halve(bits);
      exponent += bits;
    }
    while (this.point < 0 || this.digits[this.first] < 5) {
      const bits = this.point == 0 ? 1 : min(-this.point * 3, SHIFT_MAX);
      this.double(bits);
      exponent -= bits;
    }
    // The value is now from 0.5 up to 1; below the normal range fewer bits are left for it.
    const short = -1021 - exponent;
    if (short > 0) {
      exponent = -1021;
      for (let left = short; left > 0; left -= SHIFT_MAX) this.halve(min(left, SHIFT_MAX));
    }
    this.double(53);
    let mantissa = this.rounded();
    if (mantissa >> 53) {
      mantissa >>= 1;
      exponent++;
    }
    if (exponent > 1024) return Infinity;
    const biased: u64 = mantissa >> 52 ? <u64>(exponent + 1022) : 0;
    return reinterpret<f64>((biased << 52) | (mantissa & ((<u64>1 << 52) - 1)));
  }

  /** The nearest whole number, ties to even. */
  private rounded(): u64 {
    let value: u64 = 0;
    for (let i = 0; i < this.point; i++) value = value * 10 + this.digit(this.first + i);
    // Below 0.1 it rounds to 0.
    if (this.point < 0) return 0;
    const next = this.first + this.point;
    const half = this.digit(next) == 5 && next + 1 >= this.end && !this.more;
    return half ? value + (value & 1) : value + (this.digit(next) >= 5 ? 1 : 0);
  }

  private digit(at: i32): u64 {
    return at < this.end ? this.digits[at] : 0;
  }
}

let whole: i64 = 0;

/** Whether a JSON number is a whole one that fits 64 bits; `lastWhole` is then its value. */
export function isWhole(raw: string): bool {
  const negative = raw.charCodeAt(0) == 0x2d;
  let value: u64 = 0;
  for (let i = negative ? 1 : 0, n = raw.length; i < n; i++) {
    const digit = <u32>raw.charCodeAt(i) - 0x30;
    if (digit > 9) return false;
    if (value > (<u64>i64.MAX_VALUE + 1 - digit) / 10) return false;
    value = value * 10 + digit;
  }
  if (!negative && value > <u64>i64.MAX_VALUE) return false;
  whole = negative ? <i64>(0 - value) : <i64>value;
  return true;
}

export function lastWhole(): i64 {
  return whole;
}
