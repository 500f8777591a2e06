/** An instance's state as images: taken from its memory and globals, put back, described. */
import { applyImage, sealImage, type SuspendedStep, writeHead } from "./checkpoint.ts";
import { readChain } from "./checkpoint-chain.ts";
import type { FrameWriter } from "./frames.ts";
import type { LinkedGuest, LoadedRevision } from "./loaded-revision.ts";
import type { Description } from "./outcomes.ts";
import { Shadow } from "./shadow.ts";

type Origin = Pick<LoadedRevision, "pristine" | "preparationCrc">;
type Holder = Pick<LinkedGuest, "memory" | "globals">;

export class InstanceState {
  readonly #revision: Origin;
  readonly #guest: Holder;
  #shadow: Shadow | null = null;
  /** The crc of the last base or difference; null when none was taken or put back. */
  #follows: number | null = null;

  constructor(revision: Origin, guest: Holder) {
    this.#revision = revision;
    this.#guest = guest;
  }

  /** Adds the state as a run. It must be that of an instance at rest. Answers what it has become. */
  writeRest(out: FrameWriter, wish: "base" | "difference"): "base" | "difference" {
    const kind = this.#follows === null ? "base" : wish;
    this.#follows = this.#write(out, kind, null);
    return kind;
  }

  /** Whether there is a state at rest that a wait could follow. */
  get hasRest(): boolean {
    return this.#follows !== null;
  }

  writeWait(out: FrameWriter, step: SuspendedStep): void {
    this.#write(out, "wait", step);
  }

  #write(out: FrameWriter, kind: "base" | "difference" | "wait", step: SuspendedStep | null): number {
    const memory = this.#guest.memory.buffer;
    const { pristine } = this.#revision;
    this.#shadow ??= new Shadow(pristine);
    const run = out.openRun();
    writeHead(out, { kind, memoryBytes: memory.length, pristineCrc: pristine.crc, follows: this.#follows ?? 0, step }, this.#guest.globals.length);
    for (const cell of this.#guest.globals) cell.write(out);
    if (kind === "base") this.#shadow.writeBase(out, memory);
    else if (kind === "difference") this.#shadow.writeDifference(out, memory);
    else this.#shadow.writeWait(out, memory);
    const crc = sealImage(out, run);
    out.closeRun(run);
    return crc;
  }

  /** Puts the state of a chain in place of the pristine one. The step that was suspended in it, or null. Throws STORE_CORRUPT with nothing applied. */
  restore(images: readonly Uint8Array[]): SuspendedStep | null {
    const { memory, globals } = this.#guest;
    const { pristine, preparationCrc } = this.#revision;
    const chain = readChain(images, { pristine, globals: globals.length, preparationCrc });
    memory.growTo(chain.memoryBytes);
    const touched = new Set<number>();
    for (const image of chain.rest) applyImage(image, memory.bytes, (start, end) => Shadow.blocksOf(start, end, touched));
    this.#shadow = new Shadow(pristine);
    this.#shadow.remember(memory.buffer, touched);
    this.#follows = chain.rest.at(-1)?.crc ?? null;
    if (chain.wait !== null) applyImage(chain.wait, memory.bytes, () => undefined);
    for (const [i, cell] of globals.entries()) cell.setBits(chain.last.globals[i] ?? 0n);
    return chain.wait?.step ?? null;
  }

  describe(suspended: boolean): Description {
    const memory = this.#guest.memory.buffer;
    this.#shadow ??= new Shadow(this.#revision.pristine);
    return {
      memoryBytes: memory.length,
      touched: this.#shadow.touched(memory),
      globals: this.#guest.globals.map((cell, i) => ({ name: `g${i}`, type: cell.type, value: cell.text() })),
      suspended,
    };
  }
}
