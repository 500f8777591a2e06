/**
 * How a store's calls reach its database: they become units of work (call-order.ts), and
 * each unit has a connection to itself until it is over.
 *
 * States: open -> closing -> closed.
 *
 * U1 Every call settles exactly once: with its result, with why it was refused, or with
 *    STORE_UNAVAILABLE when its connection ends, or does not answer in time. What a call
 *    did then is for its caller to find out.
 * U2 A server that is gone fails calls, and never the store: the next ones find it back.
 * U3 `hostId` changes while no call is under way: who changes it is alone (O3).
 */
import { Deferred } from "../../core/deferred.ts";
import { SirsiError } from "../../core/errors.ts";
import { faultPoint } from "../../core/fault-points.ts";
import { runBatch, withRetries, type BatchSurroundings } from "./batch.ts";
import type { BatchCall } from "./batch-call.ts";
import { CallOrder, type Needs, type Unit } from "./call-order.ts";
import type { Link } from "./link.ts";
import { closedStore, type Pool } from "./pool.ts";
import { faultKind, LinkFault, lostConnection, storeFault } from "./postgres-fault.ts";
import type { Writer } from "./transaction.ts";

/** Batches at a time: while one is on its way, the next is gathered, and larger ones cost less. */
const BATCHES = 2;

interface Work {
  readonly resolve: (value: never) => void;
  readonly reject: (reason: SirsiError) => void;
}

type PendingCall = Work & (
  | { readonly kind: "batch"; readonly call: BatchCall }
  | { readonly kind: "link"; readonly writes: boolean; readonly run: (link: Link) => Promise<unknown> }
);

type State = "open" | "closing" | "closed";

export type DispatchSurroundings = Omit<BatchSurroundings, "hostId">;

export class Dispatch {
  /** In whose name calls are made; null for a host of no fleet. */
  hostId: string | null = null;
  #state: State = "open";
  readonly #pool: Pool;
  readonly #around: DispatchSurroundings;
  readonly #callTimeoutMs: number;
  readonly #order = new CallOrder<PendingCall>();
  readonly #closed = new Deferred<void>();
  #batches = 0;
  #due = false;

  constructor(pool: Pool, around: DispatchSurroundings, callTimeoutMs: number) {
    this.#pool = pool;
    this.#around = around;
    this.#callTimeoutMs = callTimeoutMs;
  }

  get isClosing(): boolean {
    return this.#state !== "open";
  }

  #enter<Value>(needs: Needs, pending: (work: Work) => PendingCall): Promise<Value> {
    const { promise, resolve, reject } = Promise.withResolvers<Value>();
    if (this.#state === "open") {
      this.#order.add(needs, pending({ resolve, reject }));
      this.#pumpSoon();
    } else {
      reject(closedStore(this.#around.label));
    }
    return promise;
  }

  /** Calls of one turn of the event loop go together. */
  #pumpSoon(): void {
    if (this.#due) return;
    this.#due = true;
    setImmediate(() => {
      this.#due = false;
      this.#pump();
    });
  }

  #pump(): void {
    while (this.#pool.free > 0) {
      const unit = this.#order.next(this.#batches < BATCHES);
      if (unit === null) break;
      void this.#run(unit);
    }
    if (this.#state === "closing" && this.#order.idle) this.#end();
  }

  #end(): void {
    this.#state = "closed";
    void this.#pool.close().then(() => this.#closed.resolve());
  }

  async #run(unit: Unit<PendingCall>): Promise<void> {
    if (unit.kind === "batch") this.#batches++;
    try {
      await this.#perform(unit);
    } finally {
      if (unit.kind === "batch") this.#batches--;
      this.#order.over(unit);
      this.#pump();
    }
  }

  async #perform({ calls }: Unit<PendingCall>): Promise<void> {
    let link: Link;
    try {
      link = await this.#pool.borrow();
    } catch (thrown) {
      for (const { reject } of calls) reject(storeFault(thrown));
      return;
    }
    // U1
    const limit = this.#around.clock.after(this.#callTimeoutMs, () => link.cut(new LinkFault("CONNECTION_DESTROYED", `no answer within ${this.#callTimeoutMs} ms`)));
    const inBatch = calls.flatMap((one) => (one.kind === "batch" ? [one] : []));
    const others = calls.flatMap((one) => (one.kind === "link" ? [this.#performOne(link, one)] : []));
    await Promise.all([...others, ...(inBatch.length === 0 ? [] : [this.#performBatch(link, inBatch)])]);
    limit.cancel();
    this.#pool.giveBack(link);
  }

  async #performBatch(link: Link, calls: readonly Extract<PendingCall, { kind: "batch" }>[]): Promise<void> {
    const outcomes = await runBatch(link, calls.map(({ call }) => call), { ...this.#around, hostId: this.hostId });
    for (const [index, { resolve, reject }] of calls.entries()) {
      const outcome = outcomes[index];
      if (outcome === undefined) reject(new SirsiError("INTERNAL", "A batch of the store has no outcome for one of its calls; report it with the host's log around this time."));
      else if (outcome.kind === "done") resolve(outcome.value as never);
      else reject(outcome.error);
    }
  }

  async #performOne(link: Link, { writes, run, resolve, reject }: Extract<PendingCall, { kind: "link" }>): Promise<void> {
    let sent = false;
    try {
      if (writes) faultPoint("commit.before-write");
      if (writes) faultPoint("commit.in-transaction");
      sent = writes;
      const value = await withRetries(this.#around, () => run(link));
      if (writes) faultPoint("commit.written");
      resolve(value as never);
    } catch (thrown) {
      reject(faultKind(thrown) === "lost" ? lostConnection(thrown, this.#around.label, sent) : storeFault(thrown));
    }
  }

  batch<Value>(call: BatchCall, writes: readonly string[], reads: readonly string[] = [], bytes = 0): Promise<Value> {
    return this.#enter({ kind: "batch", writes, reads, bytes }, (work) => ({ kind: "batch", call, ...work }));
  }

  /** `of` is null for what sees everything. */
  read<Value>(of: string | null, run: (link: Link) => Promise<Value>): Promise<Value> {
    const needs: Needs = { kind: "read", writes: [], reads: of === null ? [] : [of], everything: of === null };
    return this.#enter(needs, (work) => ({ kind: "link", writes: false, run, ...work }));
  }

  /** A read that sees the writes to these, made before it. */
  readOf<Value>(reads: readonly string[], run: (link: Link) => Promise<Value>): Promise<Value> {
    return this.#enter({ kind: "read", writes: [], reads }, (work) => ({ kind: "link", writes: false, run, ...work }));
  }

  single<Value>(needs: Omit<Needs, "kind">, run: (link: Link) => Promise<Value>): Promise<Value> {
    return this.#enter({ kind: "single", ...needs }, (work) => ({ kind: "link", writes: needs.writes.length > 0, run, ...work }));
  }

  /** Fenced: AGENT_FENCED once the host was buried. */
  writeWith<Value>(needs: Omit<Needs, "kind">, run: (writer: Writer) => Promise<Value>): Promise<Value> {
    return this.single(needs, (link) => run({ link, hostId: this.hostId }));
  }

  write<Value>(of: string, run: (writer: Writer) => Promise<Value>): Promise<Value> {
    return this.writeWith({ writes: [of], reads: [] }, run);
  }

  close(): Promise<void> {
    if (this.#state === "open") {
      this.#state = "closing";
      this.#pump();
    }
    return this.#closed.promise;
  }
}
