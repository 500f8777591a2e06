/**
 * JSON of unknown shape from unknown hands: parsed strictly, with a bound on depth, without a
 * trap whatever the bytes are. Texts and numbers stay in the bytes until they are asked for.
 */
import { bytesOf } from "./bytes";
import { isWhole, lastWhole, nearestF64 } from "./json-number";
import { DEPTH_DEFAULT, JsonKind, JsonParser, hexDigit } from "./json-parse";
import { decodeUtf8 } from "./wire";

/** Where and why bytes are not JSON. Lines and columns count from 1; columns count characters. */
export class JsonFault {
  constructor(
    public readonly reason: string,
    public readonly line: i32,
    public readonly column: i32,
  ) {}

  toString(): string {
    return "line " + this.line.toString() + ", column " + this.column.toString() + ": " + this.reason;
  }
}

/** A node that is not there: what looking up a missing member gives. Every reader accepts it. */
export const MISSING: i32 = -1;

/**
 * A parsed document. Nodes are numbers, the root is 0. Looking up what is not there gives
 * MISSING, and reading a node as what it is not gives the fallback, so lookups chain.
 */
export class JsonDocument {
  private constructor(
    private readonly bytes: Uint8Array,
    private readonly nodes: StaticArray<u32>,
    /** Null when the bytes are JSON; nothing else may be read otherwise. */
    public readonly fault: JsonFault | null,
  ) {}

  static parse(bytes: Uint8Array, depthMax: i32 = DEPTH_DEFAULT): JsonDocument {
    const parser = new JsonParser(bytes, depthMax);
    if (parser.run()) return new JsonDocument(bytes, parser.nodes, null);
    return new JsonDocument(bytes, new StaticArray<u32>(4), locate(bytes, <i32>parser.place, parser.fault));
  }

  static parseText(text: string, depthMax: i32 = DEPTH_DEFAULT): JsonDocument {
    return JsonDocument.parse(bytesOf(text), depthMax);
  }

  /**
   * Wipes the document and the bytes it was made from. Worth it for large ones: what is garbage
   * but not wiped still counts in the agent's next checkpoint. Nothing is found in it afterwards.
   */
  release(): void {
    memory.fill(changetype<usize>(this.nodes), 0, <usize>this.nodes.length << 2);
    memory.fill(this.bytes.dataStart, 0, <usize>this.bytes.length);
  }

  get root(): JsonValue {
    return new JsonValue(this, 0);
  }

  private field(node: i32, which: i32): i32 {
    return <i32>this.nodes[(node << 2) + which];
  }

  /** One of JsonKind. */
  kind(node: i32): i32 {
    return node < 0 ? JsonKind.MISSING : this.field(node, 0);
  }

  isText(node: i32): bool {
    const kind = this.kind(node);
    return kind == JsonKind.TEXT || kind == JsonKind.ESCAPED;
  }

  isObject(node: i32): bool {
    return this.kind(node) == JsonKind.OBJECT;
  }

  isArray(node: i32): bool {
    return this.kind(node) == JsonKind.ARRAY;
  }

  /** Elements of an array, members of an object; 0 for anything else. */
  size(node: i32): i32 {
    return this.kind(node) >= JsonKind.ARRAY ? this.field(node, 1) : 0;
  }

  /** The first element, or the first member's name; compare with `end` before reading it. */
  first(node: i32): i32 {
    return node + 1;
  }

  /** The node after a container's last child; `first` of it when it is not a container. */
  end(node: i32): i32 {
    return this.kind(node) >= JsonKind.ARRAY ? this.field(node, 3) : node + 1;
  }

  /** The node after this one and all it contains. The value of a member is `after` its name. */
  after(node: i32): i32 {
    return this.field(node, 3);
  }

  /** The value of a member; of the last one when a name is repeated. */
  get(node: i32, name: string): i32 {
    let found = MISSING;
    if (this.kind(node) != JsonKind.OBJECT) return found;
    for (let key = node + 1, end = this.field(node, 3); key < end; key = this.after(key + 1)) {
      if (this.textIs(key, name)) found = key + 1;
    }
    return found;
  }

  /** The element of an array. */
  at(node: i32, index: i32): i32 {
    if (this.kind(node) != JsonKind.ARRAY || index < 0 || index >= this.field(node, 1)) return MISSING;
    let child = node + 1;
    for (let i = 0; i < index; i++) child = this.after(child);
    return child;
  }

  /** Whether a node is this text. */
  textIs(node: i32, text: string): bool {
    const kind = this.kind(node);
    if (kind == JsonKind.ESCAPED) return this.text(node) == text;
    if (kind != JsonKind.TEXT) return false;
    const start = this.field(node, 1);
    const length = this.field(node, 2) - start;
    if (length < text.length) return false;
    const p = this.bytes.dataStart + <usize>start;
    for (let i = 0, n = text.length; i < n; i++) {
      const unit = <u32>load<u16>(changetype<usize>(text) + (<usize>i << 1));
      if (unit >= 0x80) return this.text(node) == text;
      if (<u32>load<u8>(p + <usize>i) != unit) return false;
    }
    return length == text.length;
  }

  /** A text, or the fallback when the node is anything else. */
  text(node: i32, fallback: string = ""): string {
    const kind = this.kind(node);
    if (kind == JsonKind.TEXT) return this.raw(node);
    return kind == JsonKind.ESCAPED ? unescape(this.raw(node)) : fallback;
  }

  /** The bytes of a text or a number as they stand. */
  raw(node: i32): string {
    const kind = this.kind(node);
    if (kind < JsonKind.NULL || kind > JsonKind.ESCAPED) return "";
    const start = this.field(node, 1);
    const text = decodeUtf8(this.bytes.dataStart + <usize>start, <usize>(this.field(node, 2) - start));
    return text === null ? "" : text;
  }

  boolean(node: i32, fallback: bool = false): bool {
    const kind = this.kind(node);
    return kind == JsonKind.TRUE || (kind != JsonKind.FALSE && fallback);
  }

  /** A number as the nearest f64; `raw` has all its digits. */
  number(node: i32, fallback: f64 = NaN): f64 {
    return this.kind(node) == JsonKind.NUMBER ? nearestF64(this.raw(node)) : fallback;
  }

  /** Whether a node is a whole number that fits 64 bits, so that `integer` is exact. */
  isInteger(node: i32): bool {
    return this.kind(node) == JsonKind.NUMBER && isWhole(this.raw(node));
  }

  /** A whole number, exactly; the fallback when it is none or does not fit 64 bits. */
  integer(node: i32, fallback: i64 = 0): i64 {
    return this.isInteger(node) ? lastWhole() : fallback;
  }
}

/** A node together with its document, for reading a few values comfortably. */
export class JsonValue {
  constructor(
    private readonly document: JsonDocument,
    public readonly node: i32,
  ) {}

  get kind(): i32 {
    return this.document.kind(this.node);
  }
  get exists(): bool {
    return this.node != MISSING;
  }
  get isNull(): bool {
    return this.kind == JsonKind.NULL;
  }
  get isText(): bool {
    return this.document.isText(this.node);
  }
  get isArray(): bool {
    return this.document.isArray(this.node);
  }
  get isObject(): bool {
    return this.document.isObject(this.node);
  }
  get isInteger(): bool {
    return this.document.isInteger(this.node);
  }
  get size(): i32 {
    return this.document.size(this.node);
  }
  get(name: string): JsonValue {
    return new JsonValue(this.document, this.document.get(this.node, name));
  }
  at(index: i32): JsonValue {
    return new JsonValue(this.document, this.document.at(this.node, index));
  }
  text(fallback: string = ""): string {
    return this.document.text(this.node, fallback);
  }
  raw(): string {
    return this.document.raw(this.node);
  }
  boolean(fallback: bool = false): bool {
    return this.document.boolean(this.node, fallback);
  }
  number(fallback: f64 = NaN): f64 {
    return this.document.number(this.node, fallback);
  }
  integer(fallback: i64 = 0): i64 {
    return this.document.integer(this.node, fallback);
  }

  /** The elements of an array. */
  elements(): JsonValue[] {
    const all: JsonValue[] = [];
    if (!this.isArray) return all;
    for (let node = this.node + 1, end = this.document.end(this.node); node < end; node = this.document.after(node)) all.push(new JsonValue(this.document, node));
    return all;
  }

  /** The member names of an object, in the order they stand. */
  names(): string[] {
    const all: string[] = [];
    if (!this.isObject) return all;
    for (let key = this.node + 1, end = this.document.end(this.node); key < end; key = this.document.after(key + 1)) all.push(this.document.text(key));
    return all;
  }
}

function locate(bytes: Uint8Array, place: i32, reason: string): JsonFault {
  let line = 1;
  let column = 1;
  for (let i = 0; i < place; i++) {
    const byte = bytes[i];
    if (byte == 0x0a) {
      line++;
      column = 1;
    } else if ((byte & 0xc0) != 0x80) column++;
  }
  return new JsonFault(reason, line, column);
}

function unescape(raw: string): string {
  let text = "";
  let from = 0;
  for (let at = raw.indexOf("\\"); at >= 0; at = raw.indexOf("\\", from)) {
    text += raw.substring(from, at);
    const kind = raw.charCodeAt(at + 1);
    from = at + 2;
    if (kind == 0x75) {
      let unit = 0;
      for (let i = 0; i < 4; i++) unit = (unit << 4) | hexDigit(raw.charCodeAt(from + i));
      text += String.fromCharCode(unit);
      from += 4;
    } else text += String.fromCharCode(plain(kind));
  }
  return text + raw.substring(from);
}

function plain(kind: i32): i32 {
  switch (kind) {
    case 0x62:
      return 8;
    case 0x66:
      return 12;
    case 0x6e:
      return 10;
    case 0x72:
      return 13;
    case 0x74:
      return 9;
    default:
      return kind;
  }
}
