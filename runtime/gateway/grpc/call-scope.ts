/**
 * One call's life as the services see it: deadline, cancellation, trace context.
 *
 * States: open, then exactly one of ended (answered) or interrupted (cancelled by
 * the caller, past its deadline, or cut off by a drain). The signal is aborted by
 * an interruption alone.
 */
import type { Metadata } from "@grpc/grpc-js";
import type { Clock } from "../../core/clock.ts";
import { SirsiError } from "../../core/errors.ts";
import type { CallContext } from "../../hypervisor/service-api.ts";

/** What unary and streaming calls of grpc-js have in common. */
export interface SurfaceCall {
  readonly cancelled: boolean;
  readonly metadata: Metadata;
  getDeadline(): Date | number;
  sendMetadata(metadata: Metadata): void;
  once(event: "cancelled", listener: () => void): unknown;
}

const TRACEPARENT = /^[\da-f]{2}-[\da-f]{32}-[\da-f]{16}-[\da-f]{2}/;
/** Timers are not exact: a call cut off this close to its deadline was cut off by it. */
const DEADLINE_SLACK_MS = 10;

export class CallScope {
  readonly context: CallContext;
  readonly #clock: Clock;
  readonly #controller = new AbortController();
  #interruption: SirsiError | null = null;
  #ended = false;

  constructor(call: SurfaceCall, clock: Clock) {
    this.#clock = clock;
    this.context = { deadline: deadlineOf(call, clock), traceparent: traceparentOf(call), signal: this.#controller.signal };
    if (call.cancelled) this.#onCancelled();
    else call.once("cancelled", () => this.#onCancelled());
  }

  /** Why the call was cut off; null while it was not. */
  get interruption(): SirsiError | null {
    return this.#interruption;
  }

  /** The answer is on its way: a later "cancelled" from the transport means only that the stream has closed. */
  end(): void {
    this.#ended = true;
  }

  interrupt(reason: SirsiError): void {
    if (this.#ended || this.#interruption !== null) return;
    this.#interruption = reason;
    this.#controller.abort(reason);
  }

  /** What a handler's failure means to the caller: one that follows from an interruption tells of that. */
  failure(thrown: unknown): SirsiError {
    const error = SirsiError.from(thrown);
    const followed = error.code === "INTERNAL" || error.code === "CANCELLED";
    return followed && this.#interruption !== null ? this.#interruption : error;
  }

  #onCancelled(): void {
    if (this.#ended) return;
    const { deadline } = this.context;
    const late = deadline !== null && this.#clock.monotonic() >= deadline - DEADLINE_SLACK_MS;
    this.interrupt(
      late
        ? new SirsiError("DEADLINE_EXCEEDED", "the call's deadline passed before the answer was there")
        : new SirsiError("CANCELLED", "the caller cancelled the call or went away"),
    );
  }
}

/** grpc-js keeps it as wall time; Infinity when the caller set none. */
function deadlineOf(call: SurfaceCall, clock: Clock): number | null {
  const wallMs = Number(call.getDeadline());
  return Number.isFinite(wallMs) ? clock.monotonic() + (wallMs - clock.now()) : null;
}

function traceparentOf(call: SurfaceCall): string {
  const [given] = call.metadata.get("traceparent");
  return typeof given === "string" && TRACEPARENT.test(given) ? given : "";
}
