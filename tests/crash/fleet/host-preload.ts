/**
 * Comes before the host in its process, in its threads too: turns the machine's clock for it
 * alone, and ends it when the harness is gone. FLEET_CLOCK_SKEW_MS says by how much.
 */
import { exit, ppid } from "node:process";
import { isMainThread } from "node:worker_threads";
import { processEnvironment } from "../../../runtime/config/index.ts";

const skewMs = Number(processEnvironment()["FLEET_CLOCK_SKEW_MS"] ?? 0);
if (skewMs !== 0) {
  const now = Date.now.bind(Date);
  Date.now = () => now() + skewMs;
}

const LOOK_EVERY_MS = 500;

// Whoever started it would have killed it: a parent that was killed itself could not.
if (isMainThread) {
  const harness = ppid;
  setInterval(() => {
    if (process.ppid !== harness) exit(3);
  }, LOOK_EVERY_MS).unref();
}
