/**
 * Runs deliveries later, in the order they were pushed. They run as microtasks,
 * which is quick, until a turn of the event loop has seen a share of them; the
 * rest waits for the next turn, so that two agents who answer each other for ever
 * never keep sockets and timers from being served.
 *
 * A delivery must not throw; if one does all the same, the rest still runs.
 */

const DELIVERIES_PER_TURN = 512;

export class DeliveryQueue {
  #waiting: (() => void)[] = [];
  #scheduled = false;
  #left = DELIVERIES_PER_TURN;
  #turnWatched = false;

  push(delivery: () => void): void {
    this.#waiting.push(delivery);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled || this.#waiting.length === 0) return;
    this.#scheduled = true;
    if (this.#left > 0) queueMicrotask(() => this.#run());
    else setImmediate(() => this.#run());
    if (this.#turnWatched) return;
    this.#turnWatched = true;
    setImmediate(() => {
      this.#turnWatched = false;
      this.#left = DELIVERIES_PER_TURN;
    });
  }

  #run(): void {
    if (this.#left <= 0) this.#left = DELIVERIES_PER_TURN;
    const share = this.#waiting.splice(0, this.#left);
    this.#left -= share.length;
    let done = 0;
    try {
      for (const delivery of share) {
        done += 1;
        delivery();
      }
    } finally {
      if (done < share.length) this.#waiting = [...share.slice(done), ...this.#waiting];
      this.#scheduled = false;
      this.#schedule();
    }
  }
}
