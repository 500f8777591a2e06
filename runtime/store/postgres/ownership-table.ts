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

const has = (table: string, of: string): string => `EXISTS (SELECT 1 FROM ${table} x WHERE x.agent_id = ${of}.agent_id)`;
const KINDS = [
  has("waits", "p"),
  has("outbox", "p"),
  has("timers", "p"),
  "EXISTS (SELECT 1 FROM agents x WHERE x.agent_id = p.agent_id AND x.state = 'INITIALIZING')",
  "EXISTS (SELECT 1 FROM agents x WHERE x.agent_id = p.agent_id AND x.live AND x.module = ANY($3::text[]))",
];
const firstOf = (owner: string, kind: string): string => `(SELECT p.agent_id FROM agent_progress p WHERE p.owner ${owner} AND p.agent_id > $1 AND ${kind} ORDER BY p.agent_id LIMIT $2)`;
/**
 * Most agents are nobody's orphans, and most orphans are idle. So owner by owner and kind by
 * kind, each by an index in the order of ids and no further than the page: it costs little
 * where there are no orphans, and where there are many with work.
 */
const ORPHANS = `
  WITH wanted AS (${KINDS.flatMap((kind) => [
    firstOf("IS NULL", kind),
    `SELECT found.agent_id FROM hosts h CROSS JOIN LATERAL ${firstOf("= h.host_id", kind)} AS found WHERE h.state = 'dead'`,
  ]).join(" UNION ")})
  SELECT a.agent_id, a.session_id, a.module, a.digest, a.live, a.state = 'INITIALIZING' AS initializing,
    ${has("waits", "a")} AS in_wait, ${has("outbox", "a")} AS has_outbox, ${has("timers", "a")} AS has_timers
  FROM (SELECT agent_id FROM wanted ORDER BY agent_id LIMIT $2) w JOIN agents a ON a.agent_id = w.agent_id ORDER BY a.agent_id`;

export async function listOrphans(link: Link, modules: readonly string[], afterAgentId: string, limit: number): Promise<Orphan[]> {
  const rows = await link.queryPlanned(ORPHANS, [afterId(afterAgentId), limit, arrayText(modules.map(keptText))]);
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
