/**
 * Room for bytes that the host puts in: outside the collector's reach, so it neither moves
 * nor goes away until it is freed.
 *
 * Small room comes from the runtime's heap. That heap traps when memory is at its maximum, so
 * room of LARGE bytes or more is taken as whole pages straight from memory.grow, which tells
 * when there is no more, and is kept for reuse by size class.
 */

const LARGE: usize = 64 * 1024;
const LENGTH_MAX: usize = 1 << 30;
const PAGE_BITS: u32 = 16;
/** Class n holds 2^n pages. */
const CLASSES: i32 = 15;

/** The head of a large room, in its first bytes; the host gets what follows it. */
@unmanaged
class LargeRoom {
  /** The next room of the same list. */
  next: usize;
  /** The size class. */
  sizeClass: i32;
}
const HEAD: usize = 16;

const unused = new StaticArray<usize>(CLASSES);
/** Large rooms the host holds; rarely more than two. */
let inUse: usize = 0;

/** Room for `length` bytes, or 0 when there is none. */
export function takeRoom(length: usize): usize {
  if (length > LENGTH_MAX) return 0;
  return length + HEAD < LARGE ? heap.alloc(max<usize>(length, 1)) : takeLarge(length + HEAD);
}

/** Frees room whose bytes were read: wiped first, so that they do not linger in checkpoints. */
export function wipeRoom(ptr: usize, length: usize): void {
  memory.fill(ptr, 0, length);
  freeRoom(ptr);
}

export function freeRoom(ptr: usize): void {
  if (ptr == 0) return;
  let before: usize = 0;
  for (let room = inUse; room != 0; room = changetype<LargeRoom>(room).next) {
    if (room + HEAD == ptr) return putBack(room, before);
    before = room;
  }
  heap.free(ptr);
}

function takeLarge(size: usize): usize {
  const pages = <u32>((size + 0xffff) >> PAGE_BITS);
  const sizeClass = <i32>(pages <= 1 ? 0 : 32 - clz<u32>(pages - 1));
  if (sizeClass >= CLASSES) return 0;
  let room = unchecked(unused[sizeClass]);
  if (room != 0) {
    unchecked((unused[sizeClass] = changetype<LargeRoom>(room).next));
  } else {
    const page = memory.grow(1 << sizeClass);
    if (page < 0) return 0;
    room = <usize>page << PAGE_BITS;
    changetype<LargeRoom>(room).sizeClass = sizeClass;
  }
  changetype<LargeRoom>(room).next = inUse;
  inUse = room;
  return room + HEAD;
}

function putBack(room: usize, before: usize): void {
  const next = changetype<LargeRoom>(room).next;
  if (before == 0) inUse = next;
  else changetype<LargeRoom>(before).next = next;
  const sizeClass = changetype<LargeRoom>(room).sizeClass;
  changetype<LargeRoom>(room).next = unchecked(unused[sizeClass]);
  unchecked((unused[sizeClass] = room));
}
