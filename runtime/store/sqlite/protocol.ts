/**
 * What crosses between the host's thread and the store's thread.
 *
 * Calls travel in groups and are answered in exactly the order they were sent,
 * so no message carries an id: a `settled` answers the oldest calls that are
 * still open, as many as it has values.
 */
import type { PlainError } from "../../core/errors.ts";
import type { Fault } from "../../core/fault-points.ts";
import type { AuditPart } from "../host-audit.ts";
import type { Store } from "../store.ts";

/** The Store as its thread serves it. An audit of the host is one of part after part, so that nobody waits for long behind it. */
export type ServedStore = Omit<Store, "close" | "auditHost"> & {
  auditSome(afterAgentId: string, findingsMax: number): Promise<AuditPart>;
};

export type StoreCallName = keyof ServedStore;

/** Whether a call may change something, and so needs a transaction. */
export const CALLS: Readonly<Record<StoreCallName, "read" | "write">> = {
  probe: "write",
  putSession: "write", getSession: "read", listSessions: "read", deleteSession: "write",
  putUser: "write", getUser: "read",
  putAgent: "write", getAgent: "read", listLiveAgents: "read", countLiveAgents: "read", listInitializing: "read", countByDigest: "read",
  listSessionAgents: "read", claimAgent: "write",
  commit: "write", getState: "read", getWait: "read", listWaiting: "read", listCommits: "read",
  listExchanges: "read", findExchange: "read", forgetExchanges: "write",
  listOutbox: "read", settleOutbox: "write", deadLetterOutbox: "write",
  listTimers: "read", nextTimer: "read",
  getDocument: "read", listDocuments: "read",
  listDeadLetters: "read", getDeadLetter: "read", dropDeadLetter: "write",
  auditAgent: "read", auditSome: "read",
  putModule: "write", putRevision: "write", listModules: "read", listRevisions: "read", putSwap: "write", listSwaps: "read",
};

export type StoreCall = {
  [Name in StoreCallName]: { readonly name: Name; readonly args: Parameters<ServedStore[Name]> };
}[StoreCallName];

/** The Store as it is inside its thread: the same calls, answered at once. They throw. */
export type SyncStore = {
  readonly [Name in StoreCallName]: (...args: Parameters<ServedStore[Name]>) => Awaited<ReturnType<ServedStore[Name]>>;
};

/** How a group of calls ended: a value for each (null where the call returns nothing or failed). */
export interface Settled {
  readonly values: readonly unknown[];
  readonly failures: readonly { readonly index: number; readonly error: PlainError }[];
}

export interface EngineOptions {
  /** The database file; its folder is made when it is missing. */
  readonly path: string;
  /** The time to note on migrations that are applied now. */
  readonly openedAtMs: number;
}

export interface ThreadOptions extends EngineOptions {
  /** What the store's thread is armed with; null but in crash tests. */
  readonly fault: Fault | null;
}

export type ToThread = { readonly kind: "calls"; readonly calls: readonly StoreCall[] } | { readonly kind: "close" };

export type FromThread =
  | { readonly kind: "opened" }
  /** The store could not be opened; the thread ends. */
  | { readonly kind: "refused"; readonly error: PlainError }
  | { readonly kind: "settled"; readonly settled: Settled };
