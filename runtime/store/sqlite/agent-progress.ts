/**
 * How far an agent has come: the one narrow row that every commit reads and writes.
 *
 * P1 `waiting` is 1 exactly while the agent has a row in waits, `pending` when that is a message's.
 * P2 received = done + dead_lettered + pending.
 * P3 `base_sequence` is the newest base, 0 for none; `kept_from` the oldest commit that is history still.
 * P4 Of the exchanges, those after `bodies_after` have a body. Bodies are taken from the rows some
 *    commits later, many at once: `bodies` rows from commit `bodies_from` on still hold one.
 */
import type { DatabaseSync } from "node:sqlite";
import { mayCreate, requireStanding, type Books, type Standing } from "../commit-rules.ts";
import type { AgentCommit } from "../store.ts";
import type { AgentWriter } from "./agent-row.ts";
import { SEQUENCES } from "./commit-key.ts";
import { number, numberOrNull, type Row } from "./row.ts";

export interface Progress extends Books, Standing {
  readonly agentKey: number;
  /** By the commit in hand. */
  readonly created: boolean;
  commitSequence: number;
  exchangeSequence: number;
  baseSequence: number;
  keptFrom: number;
  /** Of the newest state. */
  buildKey: number | null;
  bodies: number;
  bodiesFrom: number;
  bodiesAfter: number;
}

export function progressOf(row: Row): Progress {
  return {
    agentKey: number(row, "agent_key"),
    created: false,
    epoch: number(row, "epoch"),
    commitSequence: number(row, "commit_sequence"),
    exchangeSequence: number(row, "exchange_sequence"),
    received: number(row, "received"),
    done: number(row, "done"),
    deadLettered: number(row, "dead_lettered"),
    waiting: number(row, "waiting") === 1,
    pending: number(row, "pending") === 1,
    baseSequence: number(row, "base_sequence"),
    keptFrom: number(row, "kept_from"),
    buildKey: numberOrNull(row, "build_key"),
    bodies: number(row, "bodies"),
    bodiesFrom: number(row, "bodies_from"),
    bodiesAfter: number(row, "bodies_after"),
  };
}

export interface ProgressTable {
  get(agentId: string): Progress | null;
  write(progress: Progress, counters: AgentCommit["counters"]): void;
}

export function prepareProgress(db: DatabaseSync): ProgressTable {
  // The id's index holds the key: the wide record is not read.
  const get = db.prepare("SELECT agent_progress.* FROM agents JOIN agent_progress USING (agent_key) WHERE agent_id = ?");
  const write = db.prepare(`
    UPDATE agent_progress SET commit_sequence = ?, exchange_sequence = ?, received = ?, done = ?, dead_lettered = ?, waiting = ?, pending = ?,
      base_sequence = ?, kept_from = ?, build_key = ?, bodies = ?, bodies_from = ?, bodies_after = ?,
      messages_processed = coalesce(?, messages_processed), operations_completed = coalesce(?, operations_completed),
      errors_encountered = coalesce(?, errors_encountered), response_time_total_ms = coalesce(?, response_time_total_ms),
      last_activity_at = coalesce(?, last_activity_at)
    WHERE agent_key = ?`);
  return {
    get(agentId) {
      const row = get.get(agentId);
      return row === undefined ? null : progressOf(row);
    },
    write(to, counters) {
      write.run(
        to.commitSequence, to.exchangeSequence, to.received, to.done, to.deadLettered, Number(to.waiting), Number(to.pending),
        to.baseSequence, to.keptFrom, to.buildKey, to.bodies, to.bodiesFrom, to.bodiesAfter,
        counters?.messagesProcessed ?? null, counters?.operationsCompleted ?? null, counters?.errorsEncountered ?? null,
        counters?.responseTimeTotalMs ?? null, counters?.lastActivityAt ?? null, to.agentKey,
      );
    },
  };
}

/** Where the agent stands before a commit that may be made; creates it with its first one. Throws, with nothing changed. */
export function standingBefore(commit: AgentCommit, table: ProgressTable, writer: AgentWriter): Progress {
  const { agent, agentId } = commit;
  const found = table.get(agentId);
  const create = found === null && agent !== null && mayCreate(commit);
  if (create) writer.create(agent);
  const stands = create ? table.get(agentId) : found;
  requireStanding(commit, stands, SEQUENCES - 1);
  return create ? { ...stands, created: true } : stands;
}
