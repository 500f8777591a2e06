/**
 * The protobuf wire format over raw memory: one cursor to read with, one buffer to write to.
 *
 * Reading never traps and never reads past `end`. The first fault is sticky: it moves the
 * cursor past every possible end, so that all loops over it finish, and `finishReading`
 * tells. Reading and writing do not nest and never span a wait, so one of each is enough.
 */

// --- reading ---

const BEYOND: usize = usize.MAX_VALUE;
/** Groups are a relic that only unknown fields can hold; deeper ones than this are refused. */
const GROUP_DEPTH_MAX: i32 = 16;

let at: usize = 0;
let fault: string = "";

export function startReading(ptr: usize): void {
  at = ptr;
  fault = "";
}

/** Empty when everything since startReading was well-formed; else the first fault. */
export function finishReading(): string {
  return fault;
}

export function failReading(reason: string): void {
  if (fault.length == 0) fault = reason;
  at = BEYOND;
}

// @ts-ignore: decorator
@inline
export function more(end: usize): bool {
  return at < end;
}

export function readVarint(end: usize): u64 {
  let p = at;
  if (p < end) {
    const first = <u64>load<u8>(p);
    if (first < 0x80) {
      at = p + 1;
      return first;
    }
    let value = first & 0x7f;
    let shift: u64 = 7;
    p++;
    while (p < end && shift < 70) {
      const byte = <u64>load<u8>(p++);
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) {
        if (shift == 63 && byte > 1) break;
        at = p;
        return value;
      }
      shift += 7;
    }
  }
  failReading("a varint is cut off or too long");
  return 0;
}

/** The next tag: field number << 3 | wire type. Only call it while `more(end)`. */
export function readTag(end: usize): u32 {
  const tag = readVarint(end);
  if (tag >= 8 && tag <= 0xffffffff) return <u32>tag;
  failReading("a field number is out of range");
  return 0;
}

/** Reads a length and returns where the run of bytes ends. */
export function readEnd(end: usize): usize {
  const length = readVarint(end);
  if (at <= end && length <= <u64>(end - at)) return at + <usize>length;
  failReading("a length reaches beyond its message");
  return 0;
}

export function readFixed32(end: usize): u32 {
  const p = at;
  if (p < end && end - p >= 4) {
    at = p + 4;
    return load<u32>(p);
  }
  failReading("a 32-bit value is cut off");
  return 0;
}

export function readFixed64(end: usize): u64 {
  const p = at;
  if (p < end && end - p >= 8) {
    at = p + 8;
    return load<u64>(p);
  }
  failReading("a 64-bit value is cut off");
  return 0;
}

export function readFloat(end: usize): f32 {
  return reinterpret<f32>(readFixed32(end));
}

export function readDouble(end: usize): f64 {
  return reinterpret<f64>(readFixed64(end));
}

export function readString(end: usize): string {
  const stop = readEnd(end);
  if (stop <= at) return "";
  const p = at;
  at = stop;
  const text = decodeUtf8(p, stop - p);
  if (text !== null) return text;
  failReading("a string is not UTF-8");
  return "";
}

export function readBytes(end: usize): Uint8Array {
  const stop = readEnd(end);
  if (stop <= at) return NO_BYTES;
  const bytes = new Uint8Array(<i32>(stop - at));
  memory.copy(bytes.dataStart, at, stop - at);
  at = stop;
  return bytes;
}

export function readStringEntry(map: Map<string, string>, end: usize): void {
  let key = "";
  let value = "";
  while (more(end)) {
    const tag = readTag(end);
    if (tag == 10) key = readString(end);
    else if (tag == 18) value = readString(end);
    else skip(tag, end);
  }
  if (fault.length == 0) map.set(key, value);
}

export function readDoubleEntry(map: Map<string, f64>, end: usize): void {
  let key = "";
  let value: f64 = 0;
  while (more(end)) {
    const tag = readTag(end);
    if (tag == 10) key = readString(end);
    else if (tag == 17) value = readDouble(end);
    else skip(tag, end);
  }
  if (fault.length == 0) map.set(key, value);
}

/** Steps over the value of a field that nobody here knows. */
export function skip(tag: u32, end: usize, depth: i32 = 0): void {
  switch (tag & 7) {
    case 0: {
      readVarint(end);
      return;
    }
    case 1: {
      readFixed64(end);
      return;
    }
    case 2: {
      const stop = readEnd(end);
      if (fault.length == 0) at = stop;
      return;
    }
    case 3: {
      if (depth >= GROUP_DEPTH_MAX) return failReading("groups are nested too deeply");
      while (more(end)) {
        const inner = readTag(end);
        if ((inner & 7) == 4) {
          if (inner >> 3 != tag >> 3) failReading("a group ends under another number");
          return;
        }
        skip(inner, end, depth + 1);
      }
      return failReading("a group has no end");
    }
    case 5: {
      readFixed32(end);
      return;
    }
    default:
      failReading("a wire type does not exist");
  }
}

// --- UTF-8 ---

/** The shared empty run of bytes; nothing can be written to it. */
export const NO_BYTES = new Uint8Array(0);

/** The text of a run of UTF-8, or null when it is not UTF-8 (overlong forms and surrogates included). */
export function decodeUtf8(ptr: usize, length: usize): string | null {
  if (length == 0) return "";
  if (length > <usize>(i32.MAX_VALUE >> 2)) return null;
  const units = utf16Length(ptr, length);
  if (units < 0) return null;
  const text = changetype<string>(__new(<usize>units << 1, idof<string>()));
  if (<usize>units == length) widen(ptr, length, changetype<usize>(text));
  else transcode(ptr, ptr + length, changetype<usize>(text));
  return text;
}

function widen(from: usize, length: usize, to: usize): void {
  const end = from + length;
  while (end - from >= 4) {
    const four = <u64>load<u32>(from);
    const two = (four | (four << 16)) & 0x0000ffff0000ffff;
    store<u64>(to, (two | (two << 8)) & 0x00ff00ff00ff00ff);
    from += 4;
    to += 8;
  }
  while (from < end) {
    store<u16>(to, <u16>load<u8>(from++));
    to += 2;
  }
}

/** How many UTF-16 units a run of UTF-8 takes; -1 when it is not UTF-8. */
export function utf16Length(ptr: usize, length: usize): i32 {
  const end = ptr + length;
  let p = ptr;
  let units: i32 = 0;
  while (p < end) {
    if (end - p >= 8 && !(load<u64>(p) & 0x8080808080808080)) {
      p += 8;
      units += 8;
      continue;
    }
    const size = sequenceLength(p, end);
    if (size == 0) return -1;
    p += size;
    units += size == 4 ? 2 : 1;
  }
  return units;
}

/** Bytes of the well-formed sequence at `p`, or 0. */
export function sequenceLength(p: usize, end: usize): usize {
  const lead = <u32>load<u8>(p);
  if (lead < 0x80) return 1;
  const left = end - p;
  if (lead < 0xe0) return lead >= 0xc2 && left >= 2 && trails(p, 1) ? 2 : 0;
  if (lead < 0xf0) {
    if (left < 3 || !trails(p, 1) || !trails(p, 2)) return 0;
    const second = load<u8>(p, 1);
    return (lead == 0xe0 && second < 0xa0) || (lead == 0xed && second > 0x9f) ? 0 : 3;
  }
  if (lead > 0xf4 || left < 4 || !trails(p, 1) || !trails(p, 2) || !trails(p, 3)) return 0;
  const second = load<u8>(p, 1);
  return (lead == 0xf0 && second < 0x90) || (lead == 0xf4 && second > 0x8f) ? 0 : 4;
}

// @ts-ignore: decorator
@inline
function trails(p: usize, offset: usize): bool {
  return (load<u8>(p + offset) & 0xc0) == 0x80;
}

function transcode(p: usize, end: usize, to: usize): void {
  while (p < end) {
    const lead = <u32>load<u8>(p);
    if (lead < 0x80) {
      store<u16>(to, <u16>lead);
      p += 1;
      to += 2;
    } else if (lead < 0xe0) {
      store<u16>(to, <u16>(((lead & 0x1f) << 6) | (load<u8>(p, 1) & 0x3f)));
      p += 2;
      to += 2;
    } else if (lead < 0xf0) {
      store<u16>(to, <u16>(((lead & 0x0f) << 12) | ((<u32>load<u8>(p, 1) & 0x3f) << 6) | (load<u8>(p, 2) & 0x3f)));
      p += 3;
      to += 2;
    } else {
      const point =
        (((lead & 0x07) << 18) | ((<u32>load<u8>(p, 1) & 0x3f) << 12) | ((<u32>load<u8>(p, 2) & 0x3f) << 6) | (load<u8>(p, 3) & 0x3f)) - 0x10000;
      store<u16>(to, <u16>(0xd800 | (point >> 10)));
      store<u16>(to, <u16>(0xdc00 | (point & 0x3ff)), 2);
      p += 4;
      to += 4;
    }
  }
}

// --- writing ---

/** A buffer that grew beyond this is given back once its bytes are no longer needed. */
const KEEP_MAX: usize = 64 * 1024;
const FIRST_SIZE: usize = 1024;

let base: usize = 0;
let cursor: usize = 0;
let limit: usize = 0;

export function startWriting(): void {
  if (base == 0) {
    base = heap.alloc(FIRST_SIZE);
    limit = base + FIRST_SIZE;
  }
  cursor = base;
}

export function writtenAt(): usize {
  return base;
}

export function writtenLength(): usize {
  return cursor - base;
}

/** The bytes written so far, copied. */
export function takeWritten(): Uint8Array {
  const length = writtenLength();
  const bytes = new Uint8Array(<i32>length);
  memory.copy(bytes.dataStart, base, length);
  releaseWritten();
  return bytes;
}

/** The written bytes are no longer needed: they are wiped, so that they do not linger in checkpoints. */
export function releaseWritten(): void {
  memory.fill(base, 0, cursor - base);
  cursor = base;
  if (limit - base <= KEEP_MAX) return;
  heap.free(base);
  base = 0;
}

function reserve(size: usize): void {
  if (limit - cursor >= size) return;
  const used = cursor - base;
  const capacity = max<usize>((limit - base) * 2, used + size + FIRST_SIZE);
  base = heap.realloc(base, capacity);
  limit = base + capacity;
  cursor = base + used;
}

function putVarint(value: u64): void {
  let p = cursor;
  while (value >= 0x80) {
    store<u8>(p++, <u8>(value | 0x80));
    value >>= 7;
  }
  store<u8>(p, <u8>value);
  cursor = p + 1;
}

/** A tag and a varint. */
export function writeVarint(tag: u32, value: u64): void {
  reserve(15);
  putVarint(tag);
  putVarint(value);
}

export function writeFloat(tag: u32, value: f32): void {
  reserve(9);
  putVarint(tag);
  store<f32>(cursor, value);
  cursor += 4;
}

export function writeDouble(tag: u32, value: f64): void {
  reserve(13);
  putVarint(tag);
  store<f64>(cursor, value);
  cursor += 8;
}

export function writeString(tag: u32, text: string): void {
  const mark = open(tag);
  writeText(text);
  close(mark);
}

export function writeBytes(tag: u32, bytes: Uint8Array): void {
  const length = <usize>bytes.length;
  reserve(10 + length);
  putVarint(tag);
  putVarint(length);
  memory.copy(cursor, bytes.dataStart, length);
  cursor += length;
}

/**
 * The entries of a Map<string, string> as the standard library of the pinned compiler lays them
 * out: key, value, and a link whose lowest bit marks a deleted entry. keys() and values() would
 * make four objects a map, on the path of every message.
 */
@unmanaged
class MapEntry {
  key: usize;
  value: usize;
  taggedNext: usize;
}

export function writeStringMap(tag: u32, map: Map<string, string>): void {
  const ptr = changetype<usize>(map);
  let entry = load<usize>(ptr, offsetof<Map<string, string>>("entries"));
  const end = entry + <usize>load<i32>(ptr, offsetof<Map<string, string>>("entriesOffset")) * offsetof<MapEntry>();
  for (; entry < end; entry += offsetof<MapEntry>()) {
    const held = changetype<MapEntry>(entry);
    if (held.taggedNext & 1) continue;
    const mark = open(tag);
    writeString(10, changetype<string>(held.key));
    writeString(18, changetype<string>(held.value));
    close(mark);
  }
}

export function writeDoubleMap(tag: u32, map: Map<string, f64>): void {
  const keys = map.keys();
  const values = map.values();
  for (let i = 0, n = keys.length; i < n; i++) {
    const mark = open(tag);
    writeString(10, unchecked(keys[i]));
    writeDouble(17, unchecked(values[i]));
    close(mark);
  }
}

/** Begins a run of bytes whose length is not known yet; `close` fills it in. */
export function open(tag: u32): usize {
  reserve(6);
  putVarint(tag);
  cursor++;
  return cursor - base;
}

export function close(mark: usize): void {
  const length = cursor - base - mark;
  if (length < 0x80) {
    store<u8>(base + mark - 1, <u8>length);
    return;
  }
  const more: usize = length < 0x4000 ? 1 : length < 0x200000 ? 2 : length < 0x10000000 ? 3 : 4;
  reserve(more);
  const start = base + mark;
  memory.copy(start + more, start, length);
  cursor = start - 1;
  putVarint(length);
  cursor += length;
}

/** Text as UTF-8, without a tag; a lone surrogate becomes U+FFFD. */
export function writeText(text: string): void {
  const units = text.length;
  reserve(<usize>units * 3);
  const from = changetype<usize>(text);
  let i: usize = 0;
  const end = <usize>units << 1;
  let to = cursor;
  while (end - i >= 8) {
    const four = load<u64>(from + i);
    if (four & 0xff80ff80ff80ff80) break;
    const two = four | (four >> 8);
    store<u32>(to, <u32>(two & 0xffff) | (<u32>((two >> 32) & 0xffff) << 16));
    i += 8;
    to += 4;
  }
  if (i < end) to += String.UTF8.encodeUnsafe(from + i, <i32>((end - i) >> 1), to, false, String.UTF8.ErrorMode.REPLACE);
  cursor = to;
}

/** Bytes as they are, without a tag. */
export function writeRaw(ptr: usize, length: usize): void {
  reserve(length);
  memory.copy(cursor, ptr, length);
  cursor += length;
}

/** One byte as it is, without a tag. */
export function writeByte(byte: u32): void {
  reserve(1);
  store<u8>(cursor++, <u8>byte);
}
