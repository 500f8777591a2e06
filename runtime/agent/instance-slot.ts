/** Where an agent's instance is when it has one. Opening is asked for once, however many wait for it. */
import { SirsiError } from "../core/errors.ts";
import type { InstanceHandle } from "../sandbox/index.ts";
import type { OpenedLife } from "./life.ts";

export type FoundWait =
  | { readonly kind: "open"; readonly life: OpenedLife }
  /** There is no wait that could be gone on with. */
  | { readonly kind: "rolled_back"; readonly reason: string };

/** Brings instances up from the last commit. */
export interface InstanceSource {
  /** At rest. */
  atRest(): Promise<OpenedLife>;
  /** In the step that waits there. */
  inWait(): Promise<FoundWait>;
}

export class InstanceSlot {
  readonly #source: InstanceSource;
  #handle: InstanceHandle | null = null;
  #opening: Promise<InstanceHandle> | null = null;
  #memoryBytes = 0;
  #found: Promise<void> = Promise.resolve();
  /** The state that it was last to be opened from does not prove itself. */
  damaged = false;

  constructor(source: InstanceSource) {
    this.#source = source;
  }

  /** The instance, when it is there and its shard lives. */
  get live(): InstanceHandle | null {
    return this.#handle?.alive === true ? this.#handle : null;
  }

  /** Resolves when the wait that it was last asked for is open, or cannot be. */
  get waitFound(): Promise<void> {
    return this.#found;
  }

  /** Bytes of the guest's memory; 0 without an instance. */
  get memoryBytes(): number {
    return this.live === null ? 0 : this.#memoryBytes;
  }

  set memoryBytes(bytes: number) {
    this.#memoryBytes = bytes;
  }

  async open(): Promise<InstanceHandle> {
    if (this.live !== null) return this.live;
    this.#opening ??= this.#open().finally(() => {
      this.#opening = null;
    });
    return await this.#opening;
  }

  async #open(): Promise<InstanceHandle> {
    this.drop();
    this.damaged = false;
    try {
      const life = await this.#source.atRest();
      this.adopt(life);
      return life.handle;
    } catch (thrown) {
      this.damaged = SirsiError.from(thrown).code === "STORE_CORRUPT";
      throw thrown;
    }
  }

  /** In place of the instance that is there, one in the wait that was committed last. */
  async openWait(): Promise<{ readonly kind: "open"; readonly handle: InstanceHandle } | Extract<FoundWait, { kind: "rolled_back" }>> {
    this.drop();
    const finding = this.#source.inWait();
    this.#found = finding.then(() => undefined, () => undefined);
    const found = await finding;
    if (found.kind === "rolled_back") return found;
    this.adopt(found.life);
    return { kind: "open", handle: found.life.handle };
  }

  adopt(life: Pick<OpenedLife, "handle" | "memoryBytes">): void {
    this.#handle = life.handle;
    this.#memoryBytes = life.memoryBytes;
  }

  drop(): void {
    this.#handle?.close();
    this.#handle = null;
  }
}
