/** A guest's memory and globals without the guest: for the images of states that no code has to reach. */
import { FrameReader, FrameWriter } from "../../runtime/sandbox/frames.ts";
import { GuestMemory } from "../../runtime/sandbox/guest-memory.ts";
import { InstanceState } from "../../runtime/sandbox/instance-state.ts";
import type { GlobalCell } from "../../runtime/sandbox/loaded-revision.ts";
import type { SuspendedStep } from "../../runtime/sandbox/checkpoint.ts";
import { pristineImage, type PristineImage } from "../../runtime/sandbox/shadow.ts";

const PAGE_BYTES = 65_536;
export const PREPARATION_CRC = 77;
export const SUSPENDED: SuspendedStep = { preparationCrc: PREPARATION_CRC, suspendBuffer: 4_096, hostCalls: 3, emits: 2, emitBytes: 40, fuelUsed: 1_234 };

export class ImagedMemory {
  readonly pristine: PristineImage;
  readonly globals: bigint[];
  readonly state: InstanceState;
  readonly #memory: WebAssembly.Memory;

  constructor(pristine: Uint8Array, globals: number, maxPages = 4_096) {
    this.#memory = new WebAssembly.Memory({ initial: pristine.length / PAGE_BYTES, maximum: maxPages });
    this.bytes.set(pristine);
    this.pristine = pristineImage(this.bytes);
    this.globals = Array.from({ length: globals }, () => 0n);
    const cells = this.globals.map((_, i): GlobalCell => ({ type: "i64", text: () => String(this.globals[i]), write: (out) => out.u64(this.globals[i] ?? 0n), setBits: (bits) => void (this.globals[i] = bits), reset: () => void (this.globals[i] = 0n) }));
    this.state = new InstanceState({ pristine: this.pristine, preparationCrc: PREPARATION_CRC }, { memory: new GuestMemory(this.#memory), globals: cells });
  }

  get bytes(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#memory.buffer);
  }

  grow(pages: number): void {
    this.#memory.grow(pages);
  }

  /** Another one that begins alike. */
  fresh(): ImagedMemory {
    return new ImagedMemory(this.pristine.memory, this.globals.length);
  }

  base(): Uint8Array<ArrayBuffer> {
    return imageOf((out) => this.state.writeRest(out, "base"));
  }

  difference(): Uint8Array<ArrayBuffer> {
    return imageOf((out) => this.state.writeRest(out, "difference"));
  }

  wait(step = SUSPENDED): Uint8Array<ArrayBuffer> {
    return imageOf((out) => this.state.writeWait(out, step));
  }
}

function imageOf(write: (out: FrameWriter) => void): Uint8Array<ArrayBuffer> {
  const out = new FrameWriter();
  write(out);
  const { length } = out;
  return new FrameReader(out.take(), length).bytes().slice();
}
