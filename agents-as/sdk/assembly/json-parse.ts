/**
 * Strict JSON (RFC 8259, UTF-8) from bytes to a flat run of nodes, in one pass without recursion.
 *
 * A node is four u32: kind, start, end, after. For text and numbers [start, end) are the bytes
 * inside the quotes or of the number; for arrays and objects `start` is how many elements or
 * members there are. `after` is the node that follows this one and all it contains, so the
 * children of node n begin at n + 1 and the next sibling of child c is `after` of c. The
 * members of an object are a key and a value in turn.
 */
import { sequenceLength } from "./wire";

export namespace JsonKind {
  export const MISSING: i32 = 0;
  export const NULL: i32 = 1;
  export const FALSE: i32 = 2;
  export const TRUE: i32 = 3;
  export const NUMBER: i32 = 4;
  /** Text without escapes. */
  export const TEXT: i32 = 5;
  /** Text with escapes. */
  export const ESCAPED: i32 = 6;
  export const ARRAY: i32 = 7;
  export const OBJECT: i32 = 8;
}

/** Containers inside containers, unless the caller says otherwise. */
export const DEPTH_DEFAULT: i32 = 128;

const NODE_BITS: u32 = 4;
const ONES: u64 = 0x0101010101010101;
const HIGHS: u64 = 0x8080808080808080;

/** What the parser waits for next. */
const VALUE: i32 = 0;
const VALUE_OR_END: i32 = 1;
const KEY: i32 = 2;
const KEY_OR_END: i32 = 3;
const COMMA_OR_END: i32 = 4;

export class JsonParser {
  nodes: StaticArray<u32>;
  count: i32 = 0;
  /** The first fault, "" when there is none; `place` is the byte it was found at. */
  fault: string = "";
  place: usize = 0;

  private readonly base: usize;
  private readonly end: usize;
  private at: usize;
  private readonly open: StaticArray<i32>;
  private depth: i32 = 0;

  constructor(bytes: Uint8Array, depthMax: i32) {
    this.open = new StaticArray<i32>(max(depthMax, 1));
    this.nodes = new StaticArray<u32>(max(64, (bytes.length >> 3) << 2));
    const start = bytes.dataStart;
    this.base = start;
    this.at = start;
    this.end = start + <usize>bytes.length;
  }

  /** True when the bytes are one JSON value and nothing else. */
  run(): bool {
    if (this.end - this.at >= 3 && load<u16>(this.at) == 0xbbef && load<u8>(this.at, 2) == 0xbf) this.at += 3;
    let want = VALUE;
    while (true) {
      const byte = this.blank();
      if (want == COMMA_OR_END) {
        if (this.depth == 0) return byte < 0 || this.fail("there is something after the end of the value");
        const inObject = this.inObject();
        if (byte == 0x2c) {
          this.at++;
          want = inObject ? KEY : VALUE;
        } else if (byte == (inObject ? 0x7d : 0x5d)) this.close();
        else return this.fail(inObject ? 'expected "," or "}" after a member' : 'expected "," or "]" after an element');
      } else if (want >= KEY) {
        if (byte == 0x7d && want == KEY_OR_END) {
          this.close();
          want = COMMA_OR_END;
        } else if (byte != 0x22) return this.fail("expected a member name in double quotes");
        else {
          if (!this.text()) return false;
          if (this.blank() != 0x3a) return this.fail('expected ":" after a member name');
          this.at++;
          want = VALUE;
        }
      } else {
        if (byte == 0x5d && want == VALUE_OR_END) {
          this.close();
          want = COMMA_OR_END;
        } else {
          want = this.value(byte);
          if (want < 0) return false;
        }
      }
    }
  }

  /** Steps over blanks; the byte that comes then, or -1 at the end. */
  private blank(): i32 {
    let p = this.at;
    const end = this.end;
    while (p < end) {
      const byte = <i32>load<u8>(p);
      if (byte > 0x20 || (byte != 0x20 && byte != 0x0a && byte != 0x0d && byte != 0x09)) {
        this.at = p;
        return byte;
      }
      p++;
    }
    this.at = p;
    return -1;
  }

  private inObject(): bool {
    return this.kindAt(unchecked(this.open[this.depth - 1])) == JsonKind.OBJECT;
  }

  private kindAt(node: i32): i32 {
    return <i32>unchecked(this.nodes[node << 2]);
  }

  private fail(fault: string): bool {
    this.fault = this.at >= this.end ? "the text ends too early: " + fault : fault;
    this.place = this.at - this.base;
    return false;
  }

  private add(kind: i32, start: usize, end: usize): void {
    const index = this.count++;
    if ((index << 2) + 4 > this.nodes.length) this.grow();
    const node = changetype<usize>(this.nodes) + (<usize>index << NODE_BITS);
    store<u32>(node, <u32>kind);
    store<u32>(node, <u32>(start - this.base), 4);
    store<u32>(node, <u32>(end - this.base), 8);
    store<u32>(node, <u32>(index + 1), 12);
    if (this.depth > 0 && kind != JsonKind.MISSING) this.counted();
  }

  private grow(): void {
    const larger = new StaticArray<u32>(this.nodes.length << 1);
    memory.copy(changetype<usize>(larger), changetype<usize>(this.nodes), <usize>this.nodes.length << 2);
    memory.fill(changetype<usize>(this.nodes), 0, <usize>this.nodes.length << 2);
    this.nodes = larger;
  }

  /** One more node in the innermost container; keys are counted too and halved at its end. */
  private counted(): void {
    const parent = changetype<usize>(this.nodes) + (<usize>unchecked(this.open[this.depth - 1]) << NODE_BITS);
    store<u32>(parent, load<u32>(parent, 4) + 1, 4);
  }

  private close(): void {
    const index = unchecked(this.open[--this.depth]);
    const node = changetype<usize>(this.nodes) + (<usize>index << NODE_BITS);
    if (load<u32>(node) == JsonKind.OBJECT) store<u32>(node, load<u32>(node, 4) >> 1, 4);
    store<u32>(node, <u32>this.count, 12);
    this.at++;
  }

  /** Reads the value that begins with `byte`; what is wanted next, or -1. */
  private value(byte: i32): i32 {
    switch (byte) {
      case 0x22:
        return this.text() ? COMMA_OR_END : -1;
      case 0x7b:
        return this.begin(JsonKind.OBJECT, KEY_OR_END);
      case 0x5b:
        return this.begin(JsonKind.ARRAY, VALUE_OR_END);
      case 0x74:
        return this.word(JsonKind.TRUE, 4, 0x65757274);
      case 0x66:
        return this.word(JsonKind.FALSE, 5, 0x65736c61);
      case 0x6e:
        return this.word(JsonKind.NULL, 4, 0x6c6c756e);
      default:
        if (byte == 0x2d || (byte >= 0x30 && byte <= 0x39)) return this.number() ? COMMA_OR_END : -1;
        this.fail("expected a value");
        return -1;
    }
  }

  private begin(kind: i32, next: i32): i32 {
    if (this.depth == this.open.length) {
      this.fail("arrays and objects are nested more than " + this.open.length.toString() + " deep");
      return -1;
    }
    this.add(kind, this.base, this.base);
    unchecked((this.open[this.depth++] = this.count - 1));
    this.at++;
    return next;
  }

  /** `tail` holds the word's last four letters. */
  private word(kind: i32, length: usize, tail: u32): i32 {
    if (this.end - this.at >= length && load<u32>(this.at + length - 4) == tail) {
      this.add(kind, this.at, this.at + length);
      this.at += length;
      return COMMA_OR_END;
    }
    this.fail("expected a value; the words are true, false and null");
    return -1;
  }

  private digits(p: usize): usize {
    const end = this.end;
    while (p < end && <u32>load<u8>(p) - 0x30 < 10) p++;
    return p;
  }

  private number(): bool {
    const start = this.at;
    const end = this.end;
    let p = start;
    if (load<u8>(p) == 0x2d) p++;
    const whole = p;
    p = this.digits(p);
    this.at = p;
    if (p == whole) return this.fail('expected a digit after "-"');
    if (load<u8>(whole) == 0x30 && p - whole > 1) {
      this.at = whole;
      return this.fail("a number must not begin with 0");
    }
    if (p < end && load<u8>(p) == 0x2e) {
      const from = p + 1;
      this.at = p = this.digits(from);
      if (p == from) return this.fail("expected a digit after the decimal point");
    }
    if (p < end && (load<u8>(p) | 0x20) == 0x65) {
      p++;
      if (p < end && (load<u8>(p) == 0x2b || load<u8>(p) == 0x2d)) p++;
      const from = p;
      this.at = p = this.digits(from);
      if (p == from) return this.fail("expected a digit in the exponent");
    }
    this.add(JsonKind.NUMBER, start, p);
    this.at = p;
    return true;
  }

  /** Reads text from its opening quote on. */
  private text(): bool {
    const end = this.end;
    const start = this.at + 1;
    let kind = JsonKind.TEXT;
    let p = start;
    while (true) {
      while (end - p >= 8) {
        const eight = load<u64>(p);
        const quote = eight ^ 0x2222222222222222;
        const slash = eight ^ 0x5c5c5c5c5c5c5c5c;
        const special = (((quote - ONES) & ~quote) | ((slash - ONES) & ~slash) | ((eight - 0x2020202020202020) & ~eight) | eight) & HIGHS;
        if (special) {
          p += <usize>(ctz(special) >> 3);
          break;
        }
        p += 8;
      }
      this.at = p;
      if (p >= end) return this.fail("text has no closing quote");
      const byte = <u32>load<u8>(p);
      if (byte == 0x22) break;
      if (byte == 0x5c) {
        kind = JsonKind.ESCAPED;
        const size = this.escape(p);
        if (size == 0) return this.fail("a backslash is followed by what is not an escape");
        p += size;
      } else if (byte < 0x20) return this.fail("text holds a control character; write it as an escape");
      else {
        const size = sequenceLength(p, end);
        if (size == 0) return this.fail("text is not UTF-8");
        p += size;
      }
    }
    this.add(kind, start, p);
    this.at = p + 1;
    return true;
  }

  /** How long the escape at `p` is, or 0. */
  private escape(p: usize): usize {
    if (this.end - p < 2) return 0;
    switch (load<u8>(p, 1)) {
      case 0x22:
      case 0x5c:
      case 0x2f:
      case 0x62:
      case 0x66:
      case 0x6e:
      case 0x72:
      case 0x74:
        return 2;
      case 0x75: {
        if (this.end - p < 6) return 0;
        for (let i: usize = 2; i < 6; i++) if (hexDigit(load<u8>(p + i)) < 0) return 0;
        return 6;
      }
      default:
        return 0;
    }
  }
}

/** The value of a hexadecimal digit, or -1. */
export function hexDigit(byte: u32): i32 {
  if (byte - 0x30 < 10) return <i32>(byte - 0x30);
  const letter = (byte | 0x20) - 0x61;
  return letter < 6 ? <i32>letter + 10 : -1;
}
