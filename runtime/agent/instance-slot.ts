/** Where an agent's instance is when it has one. Opening is asked for once, however many wait for it. */
import type { InstanceHandle } from "../sandbox/index.ts";
import type { OpenedLife } from "./life.ts";

export class InstanceSlot {
  readonly #openNow: () => Promise<OpenedLife>;
  #handle: InstanceHandle | null = null;
  #opening: Promise<InstanceHandle> | null = null;
  #memoryBytes = 0;

  /** `openNow` brings one up from the last commit. */
  constructor(openNow: () => Promise<OpenedLife>) {
    this.#openNow = openNow;
  }

  /** The instance, when it is there and its shard lives. */
  get live(): InstanceHandle | null {
    return this.#handle?.alive === true ? this.#handle : null;
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
    const life = await this.#openNow();
    this.adopt(life);
    return life.handle;
  }

  adopt(life: OpenedLife): void {
    this.#handle = life.handle;
    this.#memoryBytes = life.memoryBytes;
  }

  drop(): void {
    this.#handle?.close();
    this.#handle = null;
  }
}
