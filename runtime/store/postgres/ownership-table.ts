/**
 * Which host has which agent, as it is read. Agents change hands in batches (agent-desk.ts).
 *
 * An orphan is an agent without an owner, or whose owner is dead. Hosts are forgotten only
 * when nothing is theirs any more (host-table.ts), so dead owners are found among the hosts.
 */
import { isId } from "../../core/ids.ts";
import type { Orphan } from "../fleet-store.ts";
import { afterId } from "./agent-table.ts";
import type { Link } from "./link.ts";
import { flag, number, plain, text } from "./row.ts";
import { arrayText, keptText } from "./stored-text.ts";

const OWNERS = `
  SELECT p.agent_id, p.owner FROM agent_progress p JOIN hosts h ON h.host_id = p.owner
  WHERE p.agent_id = ANY($1::uuid[]) AND h.state <> 'dead'`;

export async function ownersOf(link: Link, agentIds: readonly string[]): Promise<ReadonlyMap<string, string>> {
  const rows = await link.query(OWNERS, [arrayText(agentIds.filter(isId))]);
  return new Map(rows.map((row) => [plain(row, "agent_id"), plain(row, "owner")]));
}

const OWNED = "agent_progress p JOIN agents a ON a.agent_id = p.agent_id WHERE p.owner = $1 AND a.live";

export async function listOwned(link: Link, hostId: string, afterAgentId: string, limit: number): Promise<string[]> {
  const rows = await link.query(`SELECT p.agent_id FROM ${OWNED} AND p.agent_id > $2 ORDER BY p.agent_id LIMIT $3`, [hostId, afterId(afterAgentId), limit]);
  return rows.map((row) => plain(row, "agent_id"));
}

export async function countOwned(link: Link, hostId: string): Promise<number> {
  const [row] = await link.query(`SELECT count(*) AS n FROM ${OWNED}`, [hostId]);
  return row === undefined ? 0 : number(row, "n");
}

const COUNTS = `
  SELECT coalesce(h.host_id::text, '') AS owner, count(*) AS n FROM agents a JOIN agent_progress p ON p.agent_id = a.agent_id
  LEFT JOIN hosts h ON h.host_id = p.owner AND h.state <> 'dead' WHERE a.live GROUP BY h.host_id`;

export async function countByOwner(link: Link): Promise<ReadonlyMap<string, number>> {
  return new Map((await link.query(COUNTS, [])).map((row) => [plain(row, "owner"), number(row, "n")]));
}

/** Each kind of work finds its orphans by itself, from whichever of the two are fewer. */
const ofOrphans = (table: string, more = ""): string => `
  SELECT x.agent_id FROM ${table} x JOIN agent_progress p ON p.agent_id = x.agent_id
  WHERE x.agent_id > $1 ${more} AND (p.owner IS NULL OR p.owner = ANY(ARRAY(SELECT host_id FROM hosts WHERE state = 'dead')))`;
const has = (table: string): string => `EXISTS (SELECT 1 FROM ${table} x WHERE x.agent_id = a.agent_id)`;
const ORPHANS = `
  WITH wanted AS (${[
    ofOrphans("waits"),
    ofOrphans("outbox"),
    ofOrphans("timers"),
    ofOrphans("agents", "AND x.state = 'INITIALIZING'"),
    ofOrphans("agents", "AND x.live AND x.module = ANY($3::text[])"),
  ].join(" UNION ")})
  SELECT a.agent_id, a.session_id, a.module, a.digest, a.live, a.state = 'INITIALIZING' AS initializing,
    ${has("waits")} AS in_wait, ${has("outbox")} AS has_outbox, ${has("timers")} AS has_timers
  FROM wanted w JOIN agents a ON a.agent_id = w.agent_id ORDER BY a.agent_id LIMIT $2`;

export async function listOrphans(link: Link, modules: readonly string[], afterAgentId: string, limit: number): Promise<Orphan[]> {
  const rows = await link.query(ORPHANS, [afterId(afterAgentId), limit, arrayText(modules.map(keptText))]);
  return rows.map((row) => ({
    agentId: plain(row, "agent_id"),
    sessionId: plain(row, "session_id"),
    module: text(row, "module"),
    digest: text(row, "digest"),
    inWait: flag(row, "in_wait"),
    hasOutbox: flag(row, "has_outbox"),
    hasTimers: flag(row, "has_timers"),
    initializing: flag(row, "initializing"),
    ended: !flag(row, "live"),
  }));
}
