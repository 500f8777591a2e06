/**
 * What it takes to have an agent's state again: a base, the differences after it, and
 * perhaps a suspended step on top. Each image names the crc of the one it follows, so
 * that a chain with a link missing, doubled or from another agent is no chain.
 *
 * STORE_CORRUPT tells in its metadata which image it was: `image` (from 0), `images`
 * and `kind` (as far as it can be known). When that is the wait alone, the states before
 * it are proven and the step may be done again.
 */
import { SirsiError } from "../core/errors.ts";
import { type CheckedImage, corrupt, readImage } from "./checkpoint.ts";
import type { PristineImage } from "./shadow.ts";

export interface CheckedChain {
  /** The base and its differences, oldest first. */
  readonly rest: readonly CheckedImage[];
  readonly wait: CheckedImage | null;
  readonly last: CheckedImage;
  readonly memoryBytes: number;
}

/** What the images must fit. */
export interface ChainGround {
  readonly pristine: PristineImage;
  readonly globals: number;
  readonly preparationCrc: number;
}

/** Checks all of a chain and applies none of it. */
export function readChain(images: readonly Uint8Array[], ground: ChainGround): CheckedChain {
  const checked: CheckedImage[] = [];
  for (const [index, image] of images.entries()) {
    try {
      const read = readImage(image);
      requireLink(read, checked.at(-1) ?? null, index === images.length - 1);
      requireGround(read, ground);
      checked.push(read);
    } catch (thrown) {
      throw atPlace(thrown, image, index, images.length);
    }
  }
  const last = checked.at(-1);
  if (last === undefined) throw corrupt("it has no images");
  const rest = checked.filter(({ kind }) => kind !== "wait");
  return { rest, wait: last.kind === "wait" ? last : null, last, memoryBytes: last.memoryBytes };
}

function requireLink(image: CheckedImage, before: CheckedImage | null, isLast: boolean): void {
  if (before === null) {
    if (image.kind !== "base") throw corrupt(`it begins with a ${image.kind}, and only a base can stand alone`);
    return;
  }
  if (image.kind === "base") throw corrupt("a base comes after another image");
  if (image.kind === "wait" && !isLast) throw corrupt("a wait comes before its end");
  if (image.follows !== before.crc) throw corrupt(`a ${image.kind} does not follow the image before it, so one between them is missing or is another agent's`);
  if (image.memoryBytes < before.memoryBytes) throw corrupt("its memory has become smaller, which memory never does");
}

function requireGround(image: CheckedImage, { pristine, globals, preparationCrc }: ChainGround): void {
  if (image.pristineCrc !== pristine.crc) {
    throw corrupt("its module begins with another image here than where it was taken: it is of another module, or what this host's preparer and memory limit make of the module's start function has changed; run the host version and limits that wrote it");
  }
  if (image.memoryBytes < pristine.memory.length) throw corrupt("it has less memory than its module begins with");
  if (image.globals.length !== globals) throw corrupt(`it holds ${image.globals.length} globals and the module has ${globals}: it was taken from another build`);
  if (image.step !== null && image.step.preparationCrc !== preparationCrc) {
    throw corrupt("its step was suspended by the module's code as another version of the preparer made it, and only that code can go on with it; open it under that preparation, or from the state before the wait");
  }
}

function atPlace(thrown: unknown, image: Uint8Array, index: number, images: number): SirsiError {
  const { code, message, details } = SirsiError.from(thrown);
  const kind = index === 0 ? "base" : ((image[4] ?? 0) === 2 ? "wait" : "difference");
  return new SirsiError(code, message, { ...details, metadata: { ...details.metadata, image: String(index), images: String(images), kind } });
}
