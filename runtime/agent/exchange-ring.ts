/**
 * The newest exchanges of one agent as plain bytes and numbers: what went to the guest
 * and what came back, one after another in one buffer, found by a hash of the message
 * id. Nothing here is an object that the collector would have to walk, for a host
 * keeps a hundred exchanges for each of its agents.
 *
 * An exchange whose bytes lie in the store is kept here without them: its hash alone
 * tells that the store is worth asking.
 */

export interface RingExchange {
  readonly sequence: number;
  readonly completedAt: number;
  /** Both empty when they lie in the store. */
  readonly call: Uint8Array;
  readonly result: Uint8Array;
}

// The fields of a slot, in `#fields`.
const SEQUENCE = 0;
const COMPLETED_AT = 1;
const START = 2;
const CALL_BYTES = 3;
const RESULT_BYTES = 4;
const FIELDS = 5;

const FIRST_SLOTS = 8;
const FIRST_BYTES = 1024;
const NO_BYTES = new Uint8Array(0);

/** FNV-1a over the characters. */
export function idHash(messageId: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < messageId.length; at++) hash = Math.imul(hash ^ messageId.charCodeAt(at), 0x01000193);
  return hash >>> 0;
}

export class ExchangeRing {
  readonly #countMax: number;
  readonly #bytesMax: number;
  #slots = 0;
  #hashes = new Uint32Array(0);
  #fields = new Float64Array(0);
  #head = 0;
  #count = 0;
  /** Not a Buffer, whose slice() would be a view: what is handed out may have to outlive a move. */
  #bytes = NO_BYTES;
  #end = 0;

  constructor(countMax: number, bytesMax: number) {
    this.#countMax = countMax;
    this.#bytesMax = bytesMax;
  }

  get size(): number {
    return this.#count;
  }

  /** Keeps an exchange; older ones make room. One too large for the ring is kept alone. */
  push(hash: number, sequence: number, completedAt: number, call: Uint8Array, result: Uint8Array): void {
    const need = call.length + result.length;
    while (this.#count > 0 && (this.#count >= this.#countMax || this.#used() + need > this.#bytesMax)) this.#drop();
    if (this.#count === this.#slots) this.#moreSlots();
    this.#room(need);
    const slot = (this.#head + this.#count++) % this.#slots;
    const at = slot * FIELDS;
    const fields = this.#fields;
    this.#hashes[slot] = hash;
    fields[at + SEQUENCE] = sequence;
    fields[at + COMPLETED_AT] = completedAt;
    fields[at + START] = this.#end;
    fields[at + CALL_BYTES] = call.length;
    fields[at + RESULT_BYTES] = result.length;
    if (need === 0) return;
    this.#bytes.set(call, this.#end);
    this.#bytes.set(result, this.#end + call.length);
    this.#end += need;
  }

  /** Those whose ids have this hash, newest first. The bytes are views: copy them to keep them. */
  *find(hash: number): Generator<RingExchange> {
    for (let nth = this.#count - 1; nth >= 0; nth--) {
      const slot = (this.#head + nth) % this.#slots;
      if (this.#hashes[slot] === hash) yield this.#open(slot);
    }
  }

  has(hash: number): boolean {
    // Which slot is the oldest does not matter here, and slots not yet used hold no hash of an id but by chance.
    return this.#count > 0 && this.#hashes.includes(hash);
  }

  /** Below a sequence, newest first. */
  list(beforeSequence: number, limit: number): RingExchange[] {
    const found: RingExchange[] = [];
    for (let nth = this.#count - 1; nth >= 0 && found.length < limit; nth--) {
      const exchange = this.#open((this.#head + nth) % this.#slots);
      if (exchange.sequence < beforeSequence) found.push(exchange);
    }
    return found;
  }

  #field(slot: number, field: number): number {
    return this.#fields[slot * FIELDS + field] ?? 0;
  }

  #open(slot: number): RingExchange {
    const start = this.#field(slot, START);
    const middle = start + this.#field(slot, CALL_BYTES);
    return {
      sequence: this.#field(slot, SEQUENCE),
      completedAt: this.#field(slot, COMPLETED_AT),
      call: this.#bytes.subarray(start, middle),
      result: this.#bytes.subarray(middle, middle + this.#field(slot, RESULT_BYTES)),
    };
  }

  #used(): number {
    return this.#count === 0 ? 0 : this.#end - this.#field(this.#head, START);
  }

  #drop(): void {
    this.#head = (this.#head + 1) % this.#slots;
    this.#count--;
  }

  #moreSlots(): void {
    const slots = Math.min(this.#countMax, Math.max(FIRST_SLOTS, this.#slots * 2));
    const hashes = new Uint32Array(slots);
    const fields = new Float64Array(slots * FIELDS);
    for (let nth = 0; nth < this.#count; nth++) {
      const slot = (this.#head + nth) % this.#slots;
      hashes[nth] = this.#hashes[slot] ?? 0;
      fields.set(this.#fields.subarray(slot * FIELDS, (slot + 1) * FIELDS), nth * FIELDS);
    }
    this.#slots = slots;
    this.#hashes = hashes;
    this.#fields = fields;
    this.#head = 0;
  }

  /** Room for `need` more bytes at the end: what is kept moves to the front of this buffer or of a larger one. */
  #room(need: number): void {
    if (this.#end + need <= this.#bytes.length) return;
    const used = this.#used();
    const from = this.#end - used;
    let size = Math.max(FIRST_BYTES, this.#bytes.length);
    // Half of it free after the move, or moving would soon be all it does.
    while (size < (used + need) * 2) size *= 2;
    const target = size === this.#bytes.length ? this.#bytes : new Uint8Array(size);
    target.set(this.#bytes.subarray(from, this.#end));
    this.#bytes = target;
    this.#end = used;
    for (let nth = 0; nth < this.#count; nth++) {
      const at = ((this.#head + nth) % this.#slots) * FIELDS + START;
      this.#fields[at] = (this.#fields[at] ?? 0) - from;
    }
  }
}
