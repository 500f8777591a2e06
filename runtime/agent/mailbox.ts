/**
 * An agent's bounded queue: four priorities, first in first out within each. Higher
 * priorities go first; a message that has been passed over STARVE_AFTER times by
 * later, higher ones goes next, so that low priority means slow and never means lost.
 */

/** 0 low, 1 normal, 2 high, 3 critical. */
export type Rank = 0 | 1 | 2 | 3;

const RANKS: readonly Rank[] = [3, 2, 1, 0];
const STARVE_AFTER = 16;

interface Lane<Item> {
  items: Item[];
  /** Index of the first item: taking is a step forward, and the array is cut now and then. */
  head: number;
  passedOver: number;
}

export class Mailbox<Item> {
  readonly #capacity: number;
  readonly #lanes: readonly [Lane<Item>, Lane<Item>, Lane<Item>, Lane<Item>];
  #size = 0;

  constructor(capacity: number) {
    this.#capacity = capacity;
    const lane = (): Lane<Item> => ({ items: [], head: 0, passedOver: 0 });
    this.#lanes = [lane(), lane(), lane(), lane()];
  }

  get size(): number {
    return this.#size;
  }

  get full(): boolean {
    return this.#size >= this.#capacity;
  }

  /** False when it is full. */
  push(item: Item, rank: Rank): boolean {
    if (this.full) return false;
    this.#lanes[rank].items.push(item);
    this.#size++;
    return true;
  }

  take(): Item | undefined {
    if (this.#size === 0) return undefined;
    const chosen = this.#choose();
    for (let rank = 0; rank < chosen; rank++) {
      const lane = this.#lanes[rank as Rank];
      if (lane.head < lane.items.length) lane.passedOver++;
    }
    const lane = this.#lanes[chosen];
    lane.passedOver = 0;
    const item = lane.items[lane.head++];
    if (lane.head === lane.items.length) {
      lane.items.length = 0;
      lane.head = 0;
    } else if (lane.head > 64 && lane.head * 2 > lane.items.length) {
      lane.items.splice(0, lane.head);
      lane.head = 0;
    }
    this.#size--;
    return item;
  }

  /** All that waits, in no particular order. */
  *[Symbol.iterator](): Iterator<Item> {
    for (const { items, head } of this.#lanes) for (let at = head; at < items.length; at++) yield items[at] as Item;
  }

  /** Takes out the items that match, wherever they are. */
  remove(matches: (item: Item) => boolean): Item[] {
    const removed: Item[] = [];
    for (const lane of this.#lanes) {
      const kept: Item[] = [];
      for (const item of lane.items.slice(lane.head)) (matches(item) ? removed : kept).push(item);
      lane.items = kept;
      lane.head = 0;
    }
    this.#size -= removed.length;
    return removed;
  }

  #choose(): Rank {
    let highest: Rank = 0;
    for (const rank of RANKS) {
      const lane = this.#lanes[rank];
      if (lane.head === lane.items.length) continue;
      if (lane.passedOver >= STARVE_AFTER) return rank;
      if (rank > highest) highest = rank;
    }
    return highest;
  }
}
