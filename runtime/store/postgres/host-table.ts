/**
 * The hosts of a fleet: who is in it, and until when. What two hosts may do to one agent at
 * the same moment is decided here and in agent-desk.ts.
 *
 *   (none) ─join─▶ joining ⇄ active ⇄ draining ⇄ drained ─buried, left─▶ dead
 *
 * Leases begin and end by the database's clock, read when the row is in hand
 * (clock_timestamp, and not the start of the transaction): what a host's own clock says
 * matters to nobody else.
 *
 * Invariants
 * - H1 `dead` is final: no statement here sets another state over it. The row stays for a
 *   day, and longer while agents have it as their owner; a host without a row is dead.
 * - H2 A lease is ended and a renewal made by statements that each look at the row as they
 *   change it. Of a burial and a renewal at the same moment, one finds the other's work:
 *   the host was renewed and lives, or is dead and is told so.
 * - H3 Every transaction that writes reads the own host's row first, under FOR KEY SHARE,
 *   and goes no further when it is dead. So what begins after a burial is refused.
 * - H4 What began before a burial may still be on its way. `buryHost` therefore waits,
 *   after the burial, for the locks of H3: when it resolves, nothing of that host is
 *   written any more, and what it left undone can be listed in full. A host that froze in
 *   the middle holds its locks no longer than the server lets a transaction idle.
 *   Burying and waiting are two transactions, because a row on which new locks of H3 are
 *   granted all the time might never come free; no new ones are granted on a dead row.
 * - H5 Renewals change no key, so locks of H3 do not make them wait, nor the other way
 *   round: a busy host does not lose its lease for being busy.
 *
 * Burial, acquisition and a late commit, in any order: a commit and an acquisition of an
 * agent both lock its progress. Where the commit is first, the new owner reads what it
 * wrote, because it reads the agent after it acquired it. Where the acquisition is first,
 * the commit finds another epoch and another owner, and is refused (D5). A burial only
 * opens the way for acquisitions. An agent that is being created when its host is buried
 * either is refused (H3), or is there, as nobody's, when the burial resolves (H4).
 */
import { isId, requireId } from "../../core/ids.ts";
import type { HostDescription, HostEntry, HostLoad, HostStateName, Renewal } from "../fleet-store.ts";
import type { Link, Rows, Statement } from "./link.ts";
import { json, number, plain, text, type Row } from "./row.ts";
import { keptText } from "./stored-text.ts";
import { BEGIN, commitWith, hostBuried, rollBack, writeOne, type Writer } from "./transaction.ts";

const FROM_NOW = (parameter: string): string => `clock_timestamp() + ${parameter}::double precision * interval '1 millisecond'`;
const MS = (timestamp: string): string => `(extract(epoch FROM ${timestamp}) * 1000)::double precision`;
const NO_LOAD: HostLoad = { resident: 0, residentBytes: 0, cpu: 0 };

const JOIN = `
  INSERT INTO hosts (host_id, name, state, joined_at, lease_until, description, current_load) VALUES ($1, $2, 'joining', clock_timestamp(), ${FROM_NOW("$3")}, $4, $5)
  ON CONFLICT (host_id) DO UPDATE SET name = excluded.name, lease_until = excluded.lease_until, description = excluded.description WHERE hosts.state <> 'dead'`;
const LOCK = "SELECT host_id FROM hosts WHERE host_id = $1 FOR UPDATE";
const END = "UPDATE hosts SET state = 'dead' WHERE host_id = $1 AND state <> 'dead'";
const END_IF_OVER = `${END} AND lease_until <= clock_timestamp()`;
const LIVES = "SELECT host_id FROM hosts WHERE host_id = $1 AND state <> 'dead'";
const FORGET = `
  DELETE FROM hosts WHERE state = 'dead' AND lease_until < clock_timestamp() - interval '1 day'
    AND NOT EXISTS (SELECT 1 FROM agent_progress p WHERE p.owner = hosts.host_id)`;
const RENEW = `UPDATE hosts SET lease_until = ${FROM_NOW("$2")}, current_load = $3 WHERE host_id = $1 AND state <> 'dead'`;
const HOSTS = `
  SELECT host_id, name, state, description, current_load, ${MS("joined_at")} AS joined_at, ${MS("(lease_until - clock_timestamp())")} AS lease_left
  FROM hosts WHERE state <> 'dead' ORDER BY host_id`;
const DESCRIBE = "UPDATE hosts SET description = $2 WHERE host_id = $1 AND state <> 'dead'";
const NOW = `SELECT ${MS("clock_timestamp()")} AS now`;
const SET_STATE = "UPDATE hosts SET state = $2 WHERE host_id = $1 AND state <> 'dead'";

function entryOf(row: Row): HostEntry {
  const hostId = plain(row, "host_id");
  const record = `host ${hostId}`;
  return {
    ...(json(row, "description", record) as Omit<HostDescription, "hostId" | "name">),
    hostId,
    name: text(row, "name"),
    state: plain(row, "state") as HostStateName,
    load: json(row, "current_load", record) as HostLoad,
    joinedAt: Math.round(number(row, "joined_at")),
    leaseLeftMs: number(row, "lease_left"),
  };
}

/** Repeatable: a join whose answer was lost is made again under the same id. AGENT_FENCED when that id was buried. */
export async function joinFleet(link: Link, { hostId, name, ...description }: HostDescription, leaseMs: number, predecessor: string | null): Promise<void> {
  requireId(hostId, "host_id");
  // What the predecessor had on its way is waited for (H4); it runs no more, so nothing new comes.
  const burial = predecessor === null || !isId(predecessor) ? [] : [LOCK, END].map((sql): Statement => ({ sql, parameters: [predecessor] }));
  const join = { sql: JOIN, parameters: [hostId, keptText(name), leaseMs, JSON.stringify(description), JSON.stringify(NO_LOAD)] };
  try {
    const answers = await commitWith(link, [BEGIN, ...burial, join, { sql: FORGET, parameters: [] }]);
    if (answers.at(-2)?.count === 0) throw hostBuried(hostId);
  } catch (thrown) {
    await rollBack(link);
    throw thrown;
  }
}

/** One trip; the statements need not be of one moment. */
export async function renewLease(link: Link, hostId: string, load: HostLoad, leaseMs: number): Promise<Renewal> {
  const statements = [{ sql: RENEW, parameters: [hostId, leaseMs, JSON.stringify(load)] }, { sql: HOSTS, parameters: [] }, { sql: NOW, parameters: [] }];
  const [renewed, hosts, clock] = (await link.pipeline(statements)) as [Rows, Rows, Rows];
  return { held: renewed.count > 0, now: Math.round(number(clock[0] as Row, "now")), hosts: hosts.map(entryOf) };
}

export async function describeHost(writer: Writer, { hostId, name: _name, ...description }: HostDescription): Promise<void> {
  await writeOne(writer, DESCRIBE, [requireId(hostId, "host_id"), JSON.stringify(description)]);
}

export async function setHostState(writer: Writer, hostId: string, state: HostStateName): Promise<boolean> {
  return isId(hostId) && (await writeOne(writer, SET_STATE, [hostId, state])).count > 0;
}

/** H2, H4. */
export async function buryHost(writer: Writer, hostId: string): Promise<boolean> {
  if (!isId(hostId)) return true;
  await writeOne(writer, END_IF_OVER, [hostId]);
  if ((await writer.link.query(LIVES, [hostId])).length > 0) return false;
  await writer.link.query(LOCK, [hostId]);
  return true;
}

export async function endHost(link: Link, hostId: string): Promise<void> {
  await link.query(END, [hostId]);
}
