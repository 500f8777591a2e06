import { EmitCancelTimer, EmitTimer, GuestEmit } from "./gen/guest";
import { send } from "./host-call";

/**
 * The agent's own timers: each fires once, as `onTimer`, also when the host was down at its
 * time. They are set and cancelled with the step: one that fails has changed none.
 */
export class Timers {
  /** Fires `delayMs` after the step's end; a timer of that id that is set already is set anew. */
  static set(id: string, delayMs: i64, payload: Uint8Array | null = null): void {
    const timer = new EmitTimer();
    timer.timerId = id;
    timer.delayMs = delayMs;
    if (payload !== null) timer.payload = payload;
    const emit = new GuestEmit();
    emit.timer = timer;
    send(emit);
  }

  /** Without effect when no timer of that id is set. */
  static cancel(id: string): void {
    const cancel = new EmitCancelTimer();
    cancel.timerId = id;
    const emit = new GuestEmit();
    emit.cancelTimer = cancel;
    send(emit);
  }
}
