/**
 * The exchanges of an agent without durability: the bytes that went to the guest and
 * came back, one after another in one buffer. A hundred exchanges kept as objects
 * weigh ten times as much and are what the collector would mostly be doing.
 */

export interface RingExchange {
  readonly sequence: number;
  readonly messageId: string;
  readonly call: Uint8Array;
  readonly result: Uint8Array;
  readonly completedAt: number;
}

interface Slot {
  readonly messageId: string;
  readonly sequence: number;
  readonly start: number;
  readonly callBytes: number;
  readonly resultBytes: number;
  readonly completedAt: number;
}

const FIRST_BYTES = 1024;

export class ExchangeRing {
  readonly #countMax: number;
  readonly #bytesMax: number;
  #bytes: Buffer = EMPTY;
  #end = 0;
  #slots: Slot[] = [];
  /** Index of the oldest slot: the array is cut when half of it is gone. */
  #head = 0;

  constructor(countMax: number, bytesMax: number) {
    this.#countMax = countMax;
    this.#bytesMax = bytesMax;
  }

  get size(): number {
    return this.#slots.length - this.#head;
  }

  /** Keeps an exchange and gives the ids of those that made room. One too large for the ring is kept alone. */
  push(exchange: RingExchange): string[] {
    const { call, result } = exchange;
    const need = call.length + result.length;
    const dropped: string[] = [];
    while (this.size > 0 && (this.size >= this.#countMax || this.#used() + need > this.#bytesMax)) dropped.push(this.#drop());
    this.#room(need);
    const start = this.#end;
    this.#bytes.set(call, start);
    this.#bytes.set(result, start + call.length);
    this.#end += need;
    this.#slots.push({ messageId: exchange.messageId, sequence: exchange.sequence, start, callBytes: call.length, resultBytes: result.length, completedAt: exchange.completedAt });
    return dropped;
  }

  find(messageId: string): RingExchange | null {
    for (let at = this.#slots.length - 1; at >= this.#head; at--) {
      const slot = this.#slots[at];
      if (slot?.messageId === messageId) return this.#open(slot);
    }
    return null;
  }

  /** Below a sequence, newest first. */
  list(beforeSequence: number, limit: number): RingExchange[] {
    const found: RingExchange[] = [];
    for (let at = this.#slots.length - 1; at >= this.#head && found.length < limit; at--) {
      const slot = this.#slots[at];
      if (slot !== undefined && slot.sequence < beforeSequence) found.push(this.#open(slot));
    }
    return found;
  }

  #open({ messageId, sequence, start, callBytes, resultBytes, completedAt }: Slot): RingExchange {
    const middle = start + callBytes;
    return { messageId, sequence, completedAt, call: this.#bytes.subarray(start, middle), result: this.#bytes.subarray(middle, middle + resultBytes) };
  }

  #used(): number {
    return this.#end - (this.#slots[this.#head]?.start ?? this.#end);
  }

  #drop(): string {
    const slot = this.#slots[this.#head++];
    if (this.#head * 2 > this.#slots.length && this.#head > 16) {
      this.#slots = this.#slots.slice(this.#head);
      this.#head = 0;
    }
    return slot?.messageId ?? "";
  }

  /** Room for `need` more bytes at the end: what is kept moves to the front of this buffer or of a larger one. */
  #room(need: number): void {
    if (this.#end + need <= this.#bytes.length) return;
    const from = this.#slots[this.#head]?.start ?? this.#end;
    const used = this.#end - from;
    let size = Math.max(FIRST_BYTES, this.#bytes.length);
    // Half of it free after the move, or moving would soon be all it does.
    while (size < (used + need) * 2) size *= 2;
    const target = size === this.#bytes.length ? this.#bytes : Buffer.allocUnsafeSlow(size);
    this.#bytes.copy(target, 0, from, this.#end);
    this.#bytes = target;
    this.#end = used;
    this.#slots = this.#slots.slice(this.#head).map((slot) => ({ ...slot, start: slot.start - from }));
    this.#head = 0;
  }
}

const EMPTY = Buffer.alloc(0);
