const FIRST_SIZE: i32 = 256;

/** Writes JSON as UTF-8 bytes, value by value; commas come by themselves. */
export class JsonWriter {
  private buffer: Uint8Array = new Uint8Array(FIRST_SIZE);
  private length: i32 = 0;
  private comma: bool = false;

  private reserve(size: i32): usize {
    if (this.length + size > this.buffer.length) {
      const larger = new Uint8Array(max(this.buffer.length << 1, this.length + size));
      memory.copy(larger.dataStart, this.buffer.dataStart, <usize>this.length);
      this.buffer = larger;
    }
    return this.buffer.dataStart + <usize>this.length;
  }

  private byte(byte: u8): void {
    store<u8>(this.reserve(1), byte);
    this.length++;
  }

  private before(): void {
    if (this.comma) this.byte(0x2c);
    this.comma = true;
  }

  private ascii(text: string): JsonWriter {
    this.before();
    const p = this.reserve(text.length);
    for (let i = 0, n = text.length; i < n; i++) store<u8>(p + <usize>i, <u8>text.charCodeAt(i));
    this.length += text.length;
    return this;
  }

  private begin(byte: u8): JsonWriter {
    this.before();
    this.byte(byte);
    this.comma = false;
    return this;
  }

  private finish(byte: u8): JsonWriter {
    this.byte(byte);
    this.comma = true;
    return this;
  }

  beginObject(): JsonWriter {
    return this.begin(0x7b);
  }
  endObject(): JsonWriter {
    return this.finish(0x7d);
  }
  beginArray(): JsonWriter {
    return this.begin(0x5b);
  }
  endArray(): JsonWriter {
    return this.finish(0x5d);
  }

  /** The name of the member whose value comes next. */
  key(name: string): JsonWriter {
    this.text(name);
    this.byte(0x3a);
    this.comma = false;
    return this;
  }

  text(text: string): JsonWriter {
    this.before();
    this.byte(0x22);
    let from = 0;
    for (let i = 0, n = text.length; i < n; i++) {
      const unit = text.charCodeAt(i);
      if (unit >= 0x20 && unit != 0x22 && unit != 0x5c) continue;
      this.utf8(text, from, i);
      this.escape(unit);
      from = i + 1;
    }
    this.utf8(text, from, text.length);
    this.byte(0x22);
    return this;
  }

  /** A text, or null for "". */
  textOrNull(text: string): JsonWriter {
    return text.length == 0 ? this.nil() : this.text(text);
  }

  private utf8(text: string, from: i32, to: i32): void {
    if (to <= from) return;
    const p = this.reserve((to - from) * 3);
    this.length += <i32>String.UTF8.encodeUnsafe(changetype<usize>(text) + (<usize>from << 1), to - from, p, false, String.UTF8.ErrorMode.REPLACE);
  }

  private escape(unit: i32): void {
    this.byte(0x5c);
    if (unit == 0x22 || unit == 0x5c) return this.byte(<u8>unit);
    this.byte(0x75);
    this.byte(0x30);
    this.byte(0x30);
    this.byte(unit < 0x10 ? 0x30 : 0x31);
    const digit = unit & 15;
    this.byte(<u8>(digit < 10 ? 0x30 + digit : 0x57 + digit));
  }

  integer(value: i64): JsonWriter {
    return this.ascii(value.toString());
  }

  /** A number; null when it is not finite, for JSON has no word for that. */
  number(value: f64): JsonWriter {
    return isFinite(value) ? this.ascii(value.toString()) : this.nil();
  }

  boolean(value: bool): JsonWriter {
    return this.ascii(value ? "true" : "false");
  }

  nil(): JsonWriter {
    return this.ascii("null");
  }

  bytes(): Uint8Array {
    return this.buffer.slice(0, this.length);
  }

  toString(): string {
    return String.UTF8.decodeUnsafe(this.buffer.dataStart, <usize>this.length);
  }
}
