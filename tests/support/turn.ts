/** Waiting for what is bound to happen. */
import { SirsiError } from "../../runtime/core/errors.ts";

/** Lets everything that is ready happen: some turns of the event loop. */
export async function turn(turns = 3): Promise<void> {
  for (let n = 0; n < turns; n++) await new Promise((resolve) => setImmediate(resolve));
}

const PATIENCE_TURNS = 20_000;

/** Lets things happen until `holds` does; throws when it takes far too long. */
export async function eventually(holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let n = 0; n < PATIENCE_TURNS; n++) {
    if (await holds()) return;
    await new Promise((resolve) => setImmediate(resolve));
    // Threads need their share of a busy machine.
    if (n % 16 === 15) await new Promise((resolve) => setTimeout(resolve, 1));
  }
  throw new SirsiError("INTERNAL", `it did not come to pass: ${holds.toString()}`);
}
