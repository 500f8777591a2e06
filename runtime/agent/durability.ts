/**
 * How much an agent's state is worth, by its module's word. A client is answered, and what
 * a step emitted is let go, when:
 *
 *   level      | answered after            | a crash in a wait          | a crash between steps
 *   `wait`     | the step's commit         | the step goes on there     | nothing is lost
 *   `message`  | the step's commit         | the step is rolled back    | nothing is lost
 *   `interval` | the step, at once         | the step is rolled back    | the last `interval_ms` are lost
 *   `none`     | the step, at once         | everything is lost         | everything is lost
 *
 * `interval`: a step that has effects beyond its own memory (an outbox, timers,
 * documents), or that takes an entry from another's outbox, is committed before it is
 * answered like any other; the rest is when time is up, and when the agent leaves memory.
 */
import type { Revision } from "../module/revision.ts";

type Leveled = Pick<Revision, "manifest">;

/** The agent has a state in the store. */
export function isDurable({ manifest }: Leveled): boolean {
  return manifest.durability !== "none";
}

/** Every step is committed before it shows. */
export function commitsSteps({ manifest }: Leveled): boolean {
  return manifest.durability === "wait" || manifest.durability === "message";
}

/** So is every wait (D4). */
export function commitsWaits({ manifest }: Leveled): boolean {
  return manifest.durability === "wait";
}
