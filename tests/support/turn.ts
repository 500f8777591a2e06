/** Lets everything that is ready happen: some turns of the event loop. */
export async function turn(turns = 3): Promise<void> {
  for (let n = 0; n < turns; n++) await new Promise((resolve) => setImmediate(resolve));
}
