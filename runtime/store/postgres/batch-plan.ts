/**
 * What a batch is going to write, gathered while its calls are decided one after the other.
 * Where several calls of a batch touch the same record, only what comes of all of them is
 * written: each table is written by one statement, and knows no order within it.
 */
import type { AgentRecord, CommitCause, DeadLetter, DocumentChange, ExchangeRecord, OutboxEntry, OutboxKey, StateKind, TimerChange, WaitRecord } from "../store.ts";
import { derivedUuid } from "./user-id.ts";

export interface CommitRow {
  readonly agentId: string;
  readonly sequence: number;
  readonly kind: StateKind;
  readonly cause: CommitCause;
  readonly causeId: string;
  readonly committedAt: number;
  readonly buildId: string | null;
  readonly image: Uint8Array | null;
}

/** Rows of one agent from one sequence on (inclusive) up to another (exclusive). */
export interface Stretch {
  readonly agentId: string;
  readonly from: number;
  readonly to: number;
}

export interface DocumentFold {
  readonly sessionId: string;
  readonly key: string;
  /** What was there goes first. */
  dropped: boolean;
  /** Since then. */
  writes: number;
  last: { readonly bytes: Uint8Array; readonly agentId: string; readonly at: number } | null;
}

/** `fired`: goes if it is still set to that time. */
export type TimerFold =
  | { readonly kind: "set"; readonly dueAt: number; readonly payload: Uint8Array }
  | { readonly kind: "cancel" }
  | { readonly kind: "fired"; readonly dueAt: number };

export interface NewEntry {
  readonly key: OutboxKey;
  readonly entry: OutboxEntry;
}

export function entryName({ agentId, commitSequence, index }: OutboxKey): string {
  return `${agentId}/${commitSequence}/${index}`;
}

export class BatchPlan {
  readonly records = new Map<string, AgentRecord>();
  readonly builds = new Map<string, { readonly digest: string; readonly preparation: string }>();
  readonly commits: CommitRow[] = [];
  readonly history: Stretch[] = [];
  readonly exchanges: { readonly agentId: string; readonly exchange: ExchangeRecord }[] = [];
  readonly bodies: Stretch[] = [];
  readonly waits = new Map<string, { readonly sequence: number; readonly wait: WaitRecord } | null>();
  readonly entries = new Map<string, NewEntry>();
  readonly taken: OutboxKey[] = [];
  /** Agents whose timers go, all of them, before any is set. */
  readonly silenced = new Set<string>();
  readonly timers = new Map<string, Map<string, TimerFold>>();
  readonly documents = new Map<string, DocumentFold>();
  /** Null: it goes. */
  readonly letters = new Map<string, DeadLetter | null>();

  /** The id of a build is made from what it is, so that nobody has to be asked for it. */
  build(digest: string, preparation: string): string {
    const id = derivedUuid(`sirsi build ${digest} ${preparation}`);
    this.builds.set(id, { digest, preparation });
    return id;
  }

  take(key: OutboxKey): void {
    if (!this.entries.delete(entryName(key))) this.taken.push(key);
  }

  #timersOf(agentId: string): Map<string, TimerFold> {
    let timers = this.timers.get(agentId);
    if (timers === undefined) this.timers.set(agentId, (timers = new Map()));
    return timers;
  }

  /** Before `changeTimers` of the same step, so that a step may set its own timer anew. */
  fireTimer(agentId: string, { timerId, dueAt }: { readonly timerId: string; readonly dueAt: number }): void {
    const timers = this.#timersOf(agentId);
    const known = timers.get(timerId);
    if (known === undefined) timers.set(timerId, { kind: "fired", dueAt });
    else if (known.kind === "set" && known.dueAt === dueAt) timers.set(timerId, { kind: "cancel" });
  }

  changeTimers(agentId: string, changes: readonly TimerChange[]): void {
    const timers = this.#timersOf(agentId);
    for (const change of changes) timers.set(change.timerId, change.kind === "set" ? { kind: "set", dueAt: change.dueAt, payload: change.payload } : { kind: "cancel" });
  }

  silence(agentId: string): void {
    this.silenced.add(agentId);
    this.timers.delete(agentId);
  }

  changeDocument(sessionId: string, agentId: string, { key, bytes }: DocumentChange, at: number): void {
    const name = `${sessionId} ${key}`;
    let fold = this.documents.get(name);
    if (fold === undefined) this.documents.set(name, (fold = { sessionId, key, dropped: false, writes: 0, last: null }));
    if (bytes === null) {
      fold.dropped = true;
      fold.writes = 0;
      fold.last = null;
    } else {
      fold.writes++;
      fold.last = { bytes, agentId, at };
    }
  }
}
