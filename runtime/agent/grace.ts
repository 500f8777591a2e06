/** Time for something to end by itself. */
import type { Clock } from "../core/clock.ts";

/** True when `promise` settles, either way, within `graceMs`; `onLate` is called when it does not, and must settle it. */
export async function settledWithin(clock: Clock, graceMs: number, promise: Promise<unknown>, onLate: () => void): Promise<boolean> {
  let inTime = true;
  const timer = clock.after(graceMs, () => {
    inTime = false;
    onLate();
  });
  await promise.then(
    () => undefined,
    () => undefined,
  );
  timer.cancel();
  return inTime;
}
