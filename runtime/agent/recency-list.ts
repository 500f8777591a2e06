/** Things in the order of their last use, kept by links in the things themselves: a use costs no search and no garbage. */
export interface Dated<Self> {
  older: Self | null;
  newer: Self | null;
}

export class RecencyList<Item extends Dated<Item>> {
  #oldest: Item | null = null;
  #newest: Item | null = null;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Used least recently; null when the list is empty. */
  get oldest(): Item | null {
    return this.#oldest;
  }

  /** Puts in an item that is in no list. */
  add(item: Item): void {
    item.older = this.#newest;
    item.newer = null;
    if (this.#newest === null) this.#oldest = item;
    else this.#newest.newer = item;
    this.#newest = item;
    this.#size++;
  }

  /** Takes out an item that is in this list. */
  remove(item: Item): void {
    if (item.older === null) this.#oldest = item.newer;
    else item.older.newer = item.newer;
    if (item.newer === null) this.#newest = item.older;
    else item.newer.older = item.older;
    item.older = null;
    item.newer = null;
    this.#size--;
  }

  /** Of an item in this list. */
  used(item: Item): void {
    if (this.#newest === item) return;
    this.remove(item);
    this.add(item);
  }
}
