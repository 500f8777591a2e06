/**
 * Which of the waiting calls may go next, and which of them go together. A pure matter of
 * order: it knows neither connections nor SQL.
 *
 * A call names what it `writes` and `reads`. Two calls of which one writes what the other
 * writes or reads take effect in the order they were made; others pass each other. Calls
 * of agents (commits above all) go together in batches, where order is kept within.
 *
 * Invariants
 * - O1 A call starts only after every earlier call that it conflicts with is over, or in
 *   the same batch.
 * - O2 A call that reads `everything` (listings, audits) starts after every earlier write;
 *   later writes do not wait for it, so that it may see some of them.
 * - O3 A call that is `alone` starts after all earlier calls; later ones wait for it.
 */

/** `batch`: in one transaction with others. `read`: one statement, down a connection with others. `single`: a connection of its own. */
export type CallKind = "batch" | "read" | "single";

export interface Needs {
  readonly kind: CallKind;
  readonly writes: readonly string[];
  readonly reads: readonly string[];
  /** O2. */
  readonly everything?: boolean;
  /** O3. */
  readonly alone?: boolean;
  /** About how many bytes travel with it. */
  readonly bytes?: number;
}

interface Waiting<Call> {
  readonly order: number;
  readonly needs: Needs;
  readonly call: Call;
}

/** Calls that were started together. */
export interface Unit<Call> {
  readonly kind: CallKind;
  readonly calls: readonly Call[];
}

interface Started<Call> extends Unit<Call> {
  readonly members: readonly Waiting<Call>[];
}

const BATCH_CALLS = 1_024;
const BATCH_BYTES = 8 * 1024 * 1024;
const READS = 32;
/** How far a turn looks ahead for calls that may pass others. */
const LOOK_AHEAD = 4_096;

/** What started or skipped calls hold. */
class Held {
  readonly #writes = new Map<string, number>();
  readonly #reads = new Map<string, number>();
  /** Of the calls that write, and so stand before a listing. */
  writers = 0;
  calls = 0;
  alone = 0;

  #count(names: readonly string[], counts: Map<string, number>, by: number): void {
    for (const name of names) {
      const count = (counts.get(name) ?? 0) + by;
      if (count === 0) counts.delete(name);
      else counts.set(name, count);
    }
  }

  add({ writes, reads, alone }: Needs, by: 1 | -1 = 1): void {
    this.#count(writes, this.#writes, by);
    this.#count(reads, this.#reads, by);
    this.calls += by;
    if (writes.length > 0) this.writers += by;
    if (alone === true) this.alone += by;
  }

  stands({ writes, reads, alone }: Needs): boolean {
    if (this.alone > 0 || (alone === true && this.calls > 0)) return true;
    return writes.some((name) => this.#writes.has(name) || this.#reads.has(name)) || reads.some((name) => this.#writes.has(name));
  }
}

export class CallOrder<Call> {
  #order = 0;
  #waiting: Waiting<Call>[] = [];
  readonly #started = new Set<Started<Call>>();
  readonly #held = new Held();

  get idle(): boolean {
    return this.#waiting.length === 0 && this.#started.size === 0;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  add(needs: Needs, call: Call): void {
    this.#waiting.push({ order: this.#order++, needs, call });
  }

  /** The calls that may start now, as one unit; null when none may. */
  next(mayBatch: boolean): Unit<Call> | null {
    const passed = new Held();
    const members: Waiting<Call>[] = [];
    const room = { bytes: BATCH_BYTES };
    const look = Math.min(this.#waiting.length, LOOK_AHEAD);
    for (const waiting of this.#waiting.slice(0, look)) {
      if (this.#joins(waiting, members, passed, room, mayBatch)) members.push(waiting);
      else passed.add(waiting.needs);
      if (passed.alone > 0 || this.#isFull(members, room)) break;
    }
    const [first] = members;
    if (first === undefined) return null;
    const taken = new Set(members);
    this.#waiting = this.#waiting.filter((waiting) => !taken.has(waiting));
    const unit: Started<Call> = { kind: first.needs.kind, calls: members.map(({ call }) => call), members };
    this.#started.add(unit);
    for (const { needs } of members) this.#held.add(needs);
    return unit;
  }

  #isFull(members: readonly Waiting<Call>[], room: { readonly bytes: number }): boolean {
    const kind = members[0]?.needs.kind;
    if (kind === undefined) return false;
    return kind === "single" || members.length >= (kind === "batch" ? BATCH_CALLS : READS) || room.bytes <= 0;
  }

  #joins({ needs, order }: Waiting<Call>, members: readonly Waiting<Call>[], passed: Held, room: { bytes: number }, mayBatch: boolean): boolean {
    const kind = members[0]?.needs.kind;
    if (kind !== undefined && kind !== needs.kind) return false;
    if (needs.kind === "batch" && !mayBatch) return false;
    // O1, O3
    if (this.#held.stands(needs) || passed.stands(needs)) return false;
    // O2
    if (needs.everything === true && (passed.writers > 0 || this.#writesBefore(order))) return false;
    room.bytes -= needs.bytes ?? 0;
    return true;
  }

  #writesBefore(order: number): boolean {
    if (this.#held.writers === 0) return false;
    for (const { members } of this.#started) if (members.some((one) => one.needs.writes.length > 0 && one.order < order)) return true;
    return false;
  }

  over(unit: Unit<Call>): void {
    const started = unit as Started<Call>;
    if (!this.#started.delete(started)) return;
    for (const { needs } of started.members) this.#held.add(needs, -1);
  }

  /** Everything that has not started. */
  drop(): Call[] {
    return this.#waiting.splice(0).map(({ call }) => call);
  }
}
