/** The baseline of a shard: a thread that instantiates or hands bytes back, and does nothing else. */
import { Worker } from "node:worker_threads";

export type BareAsk =
  | { readonly kind: "echo"; readonly bytes: Uint8Array }
  /** `count` runs of bytes in one transferred buffer, handed back as they are. */
  | { readonly kind: "batch"; readonly buffer: ArrayBuffer; readonly count: number }
  | { readonly kind: "instantiate" }
  | { readonly kind: "forget" };

export class BareShard {
  readonly #worker: Worker;
  /** Answers come in the order of the questions. */
  readonly #waiting: ((answer: unknown) => void)[] = [];
  #head = 0;

  constructor(compiled: WebAssembly.Module | null) {
    this.#worker = new Worker(new URL("./bare-shard-thread.ts", import.meta.url), { workerData: { compiled }, name: "bench-bare" });
    this.#worker.on("message", (answer: unknown) => {
      const settle = this.#waiting[this.#head++];
      if (this.#head === this.#waiting.length) {
        this.#waiting.length = 0;
        this.#head = 0;
      }
      settle?.(answer);
    });
  }

  #ask(ask: BareAsk, transfer: ArrayBuffer[] = []): Promise<unknown> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      this.#worker.postMessage(ask, transfer);
    });
  }

  async echo(bytes: Uint8Array): Promise<number> {
    return ((await this.#ask({ kind: "echo", bytes })) as Uint8Array).length;
  }

  /** Copies `bytes` in `count` times, as a batch of frames would hold them. */
  async batch(bytes: Uint8Array, count: number): Promise<number> {
    const buffer = new ArrayBuffer(bytes.length * count);
    const into = new Uint8Array(buffer);
    for (let i = 0; i < count; i++) into.set(bytes, i * bytes.length);
    return ((await this.#ask({ kind: "batch", buffer, count }, [buffer])) as ArrayBuffer).byteLength;
  }

  async instantiate(): Promise<void> {
    await this.#ask({ kind: "instantiate" });
  }

  async forget(): Promise<void> {
    await this.#ask({ kind: "forget" });
  }

  async end(): Promise<void> {
    await this.#worker.terminate();
  }
}
