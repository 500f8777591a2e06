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
 *    every call of the batch fails; none is half there.
 */
import type { DatabaseSync, StatementSync } from "node:sqlite";
import { faultPoint } from "../../core/fault-points.ts";
import type { PlainError } from "../../core/errors.ts";
import type { Settled, StoreCall, StoreCallName, SyncStore } from "./protocol.ts";
import { storeFault } from "./sqlite-fault.ts";

const READS: ReadonlySet<StoreCallName> = new Set<StoreCallName>([
  "getSession", "listSessions", "getUser", "getAgent", "listLiveAgents", "countLiveAgents", "listInitializing", "countByDigest", "listSessionAgents",
  "getState", "getWait", "listWaiting", "listCommits", "listExchanges", "findExchange", "listOutbox", "listTimers", "nextTimer",
  "getDocument", "listDocuments", "listDeadLetters", "getDeadLetter", "auditAgent", "auditHost", "listModules", "listRevisions", "listSwaps",
]);

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

export function prepareBatches(db: DatabaseSync, store: SyncStore): BatchRunner {
  const statements: TransactionStatements = {
    begin: db.prepare("BEGIN IMMEDIATE"),
    commit: db.prepare("COMMIT"),
    rollback: db.prepare("ROLLBACK"),
    save: db.prepare("SAVEPOINT one"),
    release: db.prepare("RELEASE one"),
    undo: db.prepare("ROLLBACK TO one"),
  };
  return (calls) => {
    if (calls.every((call) => READS.has(call.name))) return runReads(store, calls);
    const settled = tryTogether(db, store, statements, calls) ?? runIsolated(db, store, statements, calls);
    faultPoint("commit.written");
    return settled;
  };
}

function invoke(store: SyncStore, call: StoreCall): unknown {
  // The compiler cannot see that a call's name and its arguments belong together.
  const run = store[call.name] as (...args: readonly unknown[]) => unknown;
  return run(...call.args) ?? null;
}

function runReads(store: SyncStore, calls: readonly StoreCall[]): Settled {
  const failures: { index: number; error: PlainError }[] = [];
  const values = calls.map((call, index) => {
    try {
      return invoke(store, call);
    } catch (thrown) {
      failures.push({ index, error: storeFault(thrown).toPlain() });
      return null;
    }
  });
  return { values, failures };
}

function tryTogether(db: DatabaseSync, store: SyncStore, statements: TransactionStatements, calls: readonly StoreCall[]): Settled | null {
  try {
    faultPoint("commit.before-write");
    statements.begin.run();
    const values = calls.map((call) => invoke(store, call));
    statements.commit.run();
    return { values, failures: [] };
  } catch {
    // The second run meets the fault again and reports it where it belongs.
    if (db.isTransaction) statements.rollback.run();
    return null;
  }
}

function runIsolated(db: DatabaseSync, store: SyncStore, statements: TransactionStatements, calls: readonly StoreCall[]): Settled {
  const failures: { index: number; error: PlainError }[] = [];
  const values: unknown[] = [];
  try {
    statements.begin.run();
    for (const [index, call] of calls.entries()) {
      statements.save.run();
      try {
        values.push(invoke(store, call));
      } catch (thrown) {
        if (!db.isTransaction) throw thrown;
        statements.undo.run();
        failures.push({ index, error: storeFault(thrown).toPlain() });
        values.push(null);
      }
      statements.release.run();
    }
    statements.commit.run();
    return { values, failures };
  } catch (thrown) {
    if (db.isTransaction) statements.rollback.run();
    const known = new Map(failures.map((failure) => [failure.index, failure.error]));
    const rest = storeFault(thrown).toPlain();
    return {
      values: calls.map(() => null),
      failures: calls.map((_, index) => ({ index, error: known.get(index) ?? rest })),
    };
  }
}
