/**
 * Group commit: all calls of a batch in one transaction, one flush of the disk.
 *
 * B1 A value is handed out only after the COMMIT that covers it, reads included:
 *    a read may have seen a write of its own batch.
 * B2 A call that fails changes nothing and fails alone. The common batch, in
 *    which none fails, pays nothing for that: it is tried without savepoints,
 *    and only when a call fails is it undone and run again, each call in a
 *    savepoint of its own.
 * B3 When SQLite gives up the whole transaction (full disk, failed COMMIT),
 *    every write of the batch fails; none is half there. Its reads are answered
 *    from what is on disk, and the next batch tries anew.
 */
import type { DatabaseSync, StatementSync } from "node:sqlite";
import type { PlainError } from "../../core/errors.ts";
import { faultPoint } from "../../core/fault-points.ts";
import { CALLS, type Settled, type StoreCall, type SyncStore } from "./protocol.ts";
import { storeFault } from "./sqlite-fault.ts";

interface TransactionStatements {
  readonly begin: StatementSync;
  readonly commit: StatementSync;
  readonly rollback: StatementSync;
  readonly save: StatementSync;
  readonly release: StatementSync;
  readonly undo: StatementSync;
}

/** Runs one batch; never throws. */
export type BatchRunner = (calls: readonly StoreCall[]) => Settled;

/** `undone` is called whenever something that was written is undone. */
export function prepareBatches(db: DatabaseSync, store: SyncStore, undone: () => void = () => {}): BatchRunner {
  const batches = new Batches(db, store, undone);
  return (calls) => batches.run(calls);
}

type Failure = { readonly index: number; readonly error: PlainError };

class Batches {
  readonly #db: DatabaseSync;
  readonly #store: SyncStore;
  readonly #undone: () => void;
  readonly #statements: TransactionStatements;

  constructor(db: DatabaseSync, store: SyncStore, undone: () => void) {
    this.#db = db;
    this.#store = store;
    this.#undone = undone;
    this.#statements = {
      begin: db.prepare("BEGIN IMMEDIATE"),
      commit: db.prepare("COMMIT"),
      rollback: db.prepare("ROLLBACK"),
      save: db.prepare("SAVEPOINT one"),
      release: db.prepare("RELEASE one"),
      undo: db.prepare("ROLLBACK TO one"),
    };
  }

  run(calls: readonly StoreCall[]): Settled {
    if (calls.every(isRead)) return this.#runReads(calls);
    try {
      faultPoint("commit.before-write");
      const settled = this.#tryTogether(calls) ?? this.#runIsolated(calls);
      faultPoint("commit.written");
      return settled;
    } catch (thrown) {
      return this.#failed(calls, storeFault(thrown).toPlain(), []);
    }
  }

  #invoke(call: StoreCall): unknown {
    // The compiler cannot see that a call's name and its arguments belong together.
    const run = this.#store[call.name] as (...args: readonly unknown[]) => unknown;
    return run(...call.args) ?? null;
  }

  #runReads(calls: readonly StoreCall[]): Settled {
    const failures: Failure[] = [];
    const values = calls.map((call, index) => {
      try {
        return this.#invoke(call);
      } catch (thrown) {
        failures.push({ index, error: storeFault(thrown).toPlain() });
        return null;
      }
    });
    return { values, failures };
  }

  #rollBack(): void {
    if (this.#db.isTransaction) this.#statements.rollback.run();
    this.#undone();
  }

  #tryTogether(calls: readonly StoreCall[]): Settled | null {
    try {
      this.#statements.begin.run();
      const values = calls.map((call) => this.#invoke(call));
      faultPoint("commit.in-transaction");
      this.#statements.commit.run();
      return { values, failures: [] };
    } catch {
      // The second run meets the fault again and reports it where it belongs.
      this.#rollBack();
      return null;
    }
  }

  #runIsolated(calls: readonly StoreCall[]): Settled {
    const { begin, commit, save, release, undo } = this.#statements;
    const failures: Failure[] = [];
    const values: unknown[] = [];
    try {
      begin.run();
      for (const [index, call] of calls.entries()) {
        save.run();
        try {
          values.push(this.#invoke(call));
        } catch (thrown) {
          if (!this.#db.isTransaction) throw thrown;
          undo.run();
          this.#undone();
          failures.push({ index, error: storeFault(thrown).toPlain() });
          values.push(null);
        }
        release.run();
      }
      faultPoint("commit.in-transaction");
      commit.run();
      return { values, failures };
    } catch (thrown) {
      const error = storeFault(thrown).toPlain();
      this.#rollBack();
      return this.#failed(calls, error, failures);
    }
  }

  /** B3. A call that had a fault of its own keeps it. */
  #failed(calls: readonly StoreCall[], error: PlainError, known: readonly Failure[]): Settled {
    const reads = this.#runReads(calls.filter(isRead));
    const ofRead = new Map(reads.failures.map((failure) => [failure.index, failure.error]));
    const own = new Map(known.map((failure) => [failure.index, failure.error]));
    const failures: Failure[] = [];
    let read = 0;
    const values = calls.map((call, index) => {
      const fault = isRead(call) ? ofRead.get(read) : (own.get(index) ?? error);
      if (fault !== undefined) failures.push({ index, error: fault });
      return isRead(call) ? reads.values[read++] : null;
    });
    return { values, failures };
  }
}

function isRead(call: StoreCall): boolean {
  return CALLS[call.name] === "read";
}
