/**
 * What crosses between the host's thread and the store's thread.
 *
 * Calls travel in groups and are answered in exactly the order they were sent,
 * so no message carries an id: a `settled` answers the oldest calls that are
 * still open, as many as it has values.
 */
import type { PlainError } from "../../core/errors.ts";
import type { Fault } from "../../core/fault-points.ts";
import type { Store } from "../store.ts";

export type StoreCallName = Exclude<keyof Store, "close">;

export type StoreCall = {
  [Name in StoreCallName]: { readonly name: Name; readonly args: Parameters<Store[Name]> };
}[StoreCallName];

/** The Store as it is inside its thread: the same calls, answered at once. They throw. */
export type SyncStore = {
  readonly [Name in StoreCallName]: (...args: Parameters<Store[Name]>) => Awaited<ReturnType<Store[Name]>>;
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
  /** Armed in the thread too; null, but for crash tests. */
  readonly fault: Fault | null;
}

export type ToThread = { readonly kind: "calls"; readonly calls: readonly StoreCall[] } | { readonly kind: "close" };

export type FromThread =
  | { readonly kind: "opened" }
  /** The store could not be opened; the thread ends. */
  | { readonly kind: "refused"; readonly error: PlainError }
  | { readonly kind: "settled"; readonly settled: Settled };
