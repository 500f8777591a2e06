/**
 * A clock whose `now` does not jump: for what expires. When the machine's clock is set
 * forward or back by an hour, sessions and message ids must neither all expire at once
 * nor live on for an hour more; so `now` goes on at its own pace and closes the gap at
 * a tenth of that, however wide it is. A gap below NUDGE_MS is closed at once.
 *
 * Invariants: (1) over any span, `now` advances by 0.9 to 1.1 times the monotonic time,
 * nudges apart; (2) on a machine whose clock never jumps it equals `clock.now()` to
 * within NUDGE_MS.
 */
import type { Clock } from "./clock.ts";

/** What time servers correct in passing. */
const NUDGE_MS = 1_000;
const CATCH_UP = 0.1;

export function steadyClock(clock: Clock): Clock {
  let now = clock.now();
  let at = clock.monotonic();
  return {
    now() {
      const monotonic = clock.monotonic();
      const passed = monotonic - at;
      at = monotonic;
      const gap = clock.now() - (now + passed);
      const most = passed * CATCH_UP;
      now += passed + (Math.abs(gap) < NUDGE_MS ? gap : Math.max(-most, Math.min(most, gap)));
      return Math.round(now);
    },
    monotonic: () => clock.monotonic(),
    after: (delayMs, callback) => clock.after(delayMs, callback),
  };
}
