/**
 * An agent's state as bytes. An *image* holds what differs from another state of the
 * agent, in full the module's own mutable globals, and the proof of what it follows:
 *
 *   base        differs from the image that every instance of the revision begins with
 *   difference  from the base or difference before it
 *   wait        the same, of a step that is suspended: its stack lies in memory
 *
 *   "SCP2" | u8 kind | u32 memory bytes | u32 crc of the pristine image | u32 globals
 *   | difference and wait: u32 crc of the image it follows
 *   | wait: u32 crc of the preparation's name, u32 suspend buffer, u32 requests made,
 *     u32 emits, u32 bytes emitted, f64 fuel used
 *   | 8 bytes a global | runs: varint gap, varint length, bytes … | u32 crc of all before
 *
 * Integers are little-endian. A run starts `gap` bytes after the end of the one before.
 * What asyncify and metering keep in globals is no part of it, so that base and
 * difference open under any preparation of the same module; a wait, whose stack only
 * one preparation's code can take up, under none but that.
 *
 * Reading checks everything before anything is applied, and throws STORE_CORRUPT.
 */
import { crc32 } from "node:zlib";
import { SirsiError } from "../core/errors.ts";
import type { FrameWriter } from "./frames.ts";

const MAGIC = 0x32504353;
const HEAD_BYTES = 17;
const FOLLOWS_BYTES = 4;
const WAIT_BYTES = 5 * 4 + 8;
const GLOBAL_BYTES = 8;
const TRAILER_BYTES = 4;
const PAGE_BYTES = 65_536;
const KINDS = ["base", "difference", "wait"] as const;

export type ImageKind = (typeof KINDS)[number];

/** What a suspended step needs besides memory and globals to go on as if it had never stopped. */
export interface SuspendedStep {
  /** crc32 of the name of the preparation whose code unwound it. */
  readonly preparationCrc: number;
  readonly suspendBuffer: number;
  readonly hostCalls: number;
  readonly emits: number;
  readonly emitBytes: number;
  readonly fuelUsed: number;
}

export interface ImageHead {
  readonly kind: ImageKind;
  readonly memoryBytes: number;
  readonly pristineCrc: number;
  /** The crc of the image it follows; 0 for a base. */
  readonly follows: number;
  /** Null but for a wait. */
  readonly step: SuspendedStep | null;
}

export interface CheckedImage extends ImageHead {
  readonly bytes: Buffer;
  /** The image's own: what the next one follows. */
  readonly crc: number;
  readonly globals: readonly bigint[];
  readonly runsAt: number;
}

/** Begins an image; its globals, its runs and `sealImage` come after it. */
export function writeHead(out: FrameWriter, head: ImageHead, globals: number): void {
  out.u32(MAGIC);
  out.u8(KINDS.indexOf(head.kind));
  out.u32(head.memoryBytes);
  out.u32(head.pristineCrc);
  out.u32(globals);
  if (head.kind !== "base") out.u32(head.follows);
  if (head.step === null) return;
  out.u32(head.step.preparationCrc);
  out.u32(head.step.suspendBuffer);
  out.u32(head.step.hostCalls);
  out.u32(head.step.emits);
  out.u32(head.step.emitBytes);
  out.number(head.step.fuelUsed);
}

/** Ends the image that began at `start`; its crc. */
export function sealImage(out: FrameWriter, start: number): number {
  const crc = out.crcFrom(start);
  out.u32(crc);
  return crc;
}

export function corrupt(why: string, metadata: Readonly<Record<string, string>> = {}): SirsiError {
  return new SirsiError("STORE_CORRUPT", `an agent's state cannot be read: ${why}; the agent is not started from it`, { metadata });
}

/** Checks all of an image but its place in a chain. */
export function readImage(image: Uint8Array): CheckedImage {
  const bytes = Buffer.from(image.buffer, image.byteOffset, image.length);
  const end = bytes.length - TRAILER_BYTES;
  if (end < HEAD_BYTES) throw corrupt("it is too short");
  if (bytes.readUInt32LE(0) !== MAGIC) throw corrupt("it does not begin as one of this version's");
  const crc = bytes.readUInt32LE(end);
  if (crc32(bytes.subarray(0, end)) !== crc) throw corrupt("its checksum does not match");
  const kind = KINDS[bytes.readUInt8(4)];
  if (kind === undefined) throw corrupt("it is of an unknown kind");
  const count = bytes.readUInt32LE(13);
  const stepAt = HEAD_BYTES + (kind === "base" ? 0 : FOLLOWS_BYTES);
  const globalsAt = stepAt + (kind === "wait" ? WAIT_BYTES : 0);
  const runsAt = globalsAt + count * GLOBAL_BYTES;
  if (runsAt > end) throw corrupt("its head is cut off");
  const checked: CheckedImage = {
    bytes,
    crc,
    kind,
    memoryBytes: bytes.readUInt32LE(5),
    pristineCrc: bytes.readUInt32LE(9),
    follows: kind === "base" ? 0 : bytes.readUInt32LE(HEAD_BYTES),
    step: kind === "wait" ? readStep(bytes, stepAt) : null,
    globals: Array.from({ length: count }, (_, i) => bytes.readBigUInt64LE(globalsAt + i * GLOBAL_BYTES)),
    runsAt,
  };
  if (checked.memoryBytes % PAGE_BYTES !== 0) throw corrupt("its memory is no whole number of pages");
  eachRun(checked, () => undefined);
  return checked;
}

function readStep(bytes: Buffer, at: number): SuspendedStep {
  const u32 = (index: number) => bytes.readUInt32LE(at + 4 * index);
  return { preparationCrc: u32(0), suspendBuffer: u32(1), hostCalls: u32(2), emits: u32(3), emitBytes: u32(4), fuelUsed: bytes.readDoubleLE(at + 20) };
}

/** Writes an image's runs over the state that it follows; `wrote` is told of each. */
export function applyImage(image: CheckedImage, memory: Uint8Array, wrote: (start: number, end: number) => void): void {
  eachRun(image, (from, start, end) => {
    memory.set(image.bytes.subarray(from, from + end - start), start);
    wrote(start, end);
  });
}

/** `visit` gets where a run's bytes lie in the image, and where in memory they start and end. */
function eachRun({ bytes, runsAt, memoryBytes }: CheckedImage, visit: (from: number, start: number, end: number) => void): void {
  const end = bytes.length - TRAILER_BYTES;
  let at = runsAt;
  let target = 0;
  const varint = () => {
    let value = 0;
    for (let shift = 0; shift < 35; shift += 7) {
      if (at >= end) throw corrupt("a run is cut off");
      const byte = bytes[at++] ?? 0;
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    throw corrupt("a run has no length");
  };
  while (at < end) {
    target += varint();
    const length = varint();
    if (at + length > end || target + length > memoryBytes) throw corrupt("a run lies outside memory");
    visit(at, target, target + length);
    at += length;
    target += length;
  }
}
