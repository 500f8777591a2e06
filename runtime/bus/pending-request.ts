/** A request that waits for its answer: settles once, and takes its timer and its listener with it. */
import type { Clock } from "../core/clock.ts";
import { Deferred } from "../core/deferred.ts";
import { SirsiError } from "../core/errors.ts";
import type { BusMessage, RequestOptions } from "./bus.ts";

export class PendingRequest {
  readonly #answer = new Deferred<BusMessage>();
  readonly #release: () => void;

  /** `onSettled` runs once, before the promise's followers do. */
  constructor(subject: string, options: RequestOptions, clock: Clock, onSettled: () => void) {
    const { timeoutMs, signal } = options;
    const timer = clock.after(timeoutMs, () => {
      this.fail(new SirsiError("DEADLINE_EXCEEDED", `No answer came on ${subject} within ${timeoutMs} ms. Allow more time, or look why the receiver is slow.`));
    });
    const cancel = (): void => this.fail(cancelled(subject, signal));
    signal?.addEventListener("abort", cancel, { once: true });
    this.#release = () => {
      timer.cancel();
      signal?.removeEventListener("abort", cancel);
      onSettled();
    };
  }

  get promise(): Promise<BusMessage> {
    return this.#answer.promise;
  }

  succeed(message: BusMessage): void {
    if (this.#answer.resolve(message)) this.#release();
  }

  fail(error: SirsiError): void {
    if (this.#answer.reject(error)) this.#release();
  }
}

export function cancelled(subject: string, signal: AbortSignal | undefined): SirsiError {
  return new SirsiError("CANCELLED", `The request on ${subject} was cancelled by its caller; an answer that still comes is dropped.`, { cause: signal?.reason });
}
