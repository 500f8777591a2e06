/**
 * The books, proven from rows: what agents' progress says is held against their commits,
 * their waits and their effects (the rules: ../audit-rules.ts). Some agents at a time, all
 * of them in one snapshot; nothing is locked, and commits go on.
 */
import { isId } from "../../core/ids.ts";
import { auditOf, type AuditFacts, type AuditSubject } from "../audit-rules.ts";
import { NO_SUMS, sumOf, type AuditPart, type Sums } from "../host-audit.ts";
import type { Audit, AuditFinding } from "../store.ts";
import { afterId } from "./agent-table.ts";
import { doneName } from "./agent-desk.ts";
import type { Link, Rows } from "./link.ts";
import { flag, number, numberOrNull, plain, text, textOrNull, type Row } from "./row.ts";
import { arrayText, keptText } from "./stored-text.ts";
import { BEGIN_SNAPSHOT, rollBack } from "./transaction.ts";

const PART_AGENTS = 500;
const FINDINGS_OF_ONE = 100;

const SUBJECTS = `
  SELECT a.agent_id, a.live, p.received, p.done, p.dead_lettered, p.exchange_sequence, p.commit_sequence, p.base_sequence, p.wait_message_id
  FROM agents a JOIN agent_progress p ON p.agent_id = a.agent_id`;
const WAITS = `
  SELECT w.agent_id, w.sequence, w.message_id, EXISTS (SELECT 1 FROM exchanges e WHERE e.agent_id = w.agent_id AND e.message_id = w.message_id) AS done
  FROM waits w WHERE w.agent_id = ANY($1::uuid[])`;
const EXCHANGES = `
  SELECT agent_id, count(*) AS known, max(sequence) AS newest, count(body) AS kept, min(CASE WHEN body IS NOT NULL THEN sequence END) AS oldest
  FROM exchanges WHERE agent_id = ANY($1::uuid[]) GROUP BY agent_id`;
const DOUBLED = "SELECT agent_id, message_id, count(*) AS times FROM exchanges WHERE agent_id = ANY($1::uuid[]) GROUP BY agent_id, message_id HAVING count(*) > 1";
const LOOSE = `
  SELECT p.agent_id, min(c.sequence) AS sequence FROM agent_progress p JOIN commits c ON c.agent_id = p.agent_id
  WHERE p.agent_id = ANY($1::uuid[]) AND p.base_sequence = 0 AND c.image IS NOT NULL GROUP BY p.agent_id`;
const CHAINS = `
  SELECT p.agent_id, count(c.sequence) AS known, max(c.sequence) AS newest, count(DISTINCT b.digest) AS digests,
    max(CASE WHEN c.sequence = p.base_sequence THEN c.kind || CASE WHEN c.image IS NULL THEN ' without its image' ELSE '' END END) AS first,
    (SELECT l.kind FROM commits l WHERE l.agent_id = p.agent_id ORDER BY l.sequence DESC LIMIT 1) AS last
  FROM agent_progress p LEFT JOIN commits c ON c.agent_id = p.agent_id AND c.sequence >= p.base_sequence LEFT JOIN builds b ON b.build_id = c.build_id
  WHERE p.agent_id = ANY($1::uuid[]) AND p.base_sequence > 0 GROUP BY p.agent_id`;
const ENTRIES = "SELECT agent_id, sequence, place, kind, target FROM outbox WHERE agent_id = ANY($1::uuid[]) ORDER BY agent_id, sequence, place";
const TIMERS = "SELECT agent_id, count(*) AS n FROM timers WHERE agent_id = ANY($1::uuid[]) GROUP BY agent_id";
const RECEIVERS = "SELECT agent_id FROM agents WHERE agent_id = ANY($1::uuid[])";
const TAKEN = `
  SELECT e.agent_id, e.message_id FROM unnest($1::uuid[], $2::text[]) AS t (agent_id, message_id)
  JOIN exchanges e ON e.agent_id = t.agent_id AND e.message_id = t.message_id`;

function subjectOf(row: Row): AuditSubject {
  const held = textOrNull(row, "wait_message_id");
  return {
    agentId: plain(row, "agent_id"),
    live: flag(row, "live"),
    received: number(row, "received"),
    done: number(row, "done"),
    deadLettered: number(row, "dead_lettered"),
    exchangeSequence: number(row, "exchange_sequence"),
    commitSequence: number(row, "commit_sequence"),
    baseSequence: number(row, "base_sequence"),
    waiting: held !== null,
    pending: held !== null && held !== "",
  };
}

function byAgent(rows: Rows | undefined): Map<string, Row[]> {
  const groups = new Map<string, Row[]>();
  for (const row of rows ?? []) {
    const agentId = plain(row, "agent_id");
    const group = groups.get(agentId);
    if (group === undefined) groups.set(agentId, [row]);
    else group.push(row);
  }
  return groups;
}

/** Message ids that deliveries of outbox entries go by. */
function deliveryId(row: Row): string {
  return `out-${plain(row, "agent_id")}-${number(row, "sequence")}-${number(row, "place")}`;
}

/** Which of the messages on their way are lost or taken, by their delivery id. */
async function astrayOf(link: Link, entries: readonly Row[]): Promise<Map<string, { readonly lost: boolean }>> {
  const messages = entries.filter((row) => plain(row, "kind") === "message");
  const addressed = messages.filter((row) => isId(text(row, "target")));
  const targets = addressed.map((row) => text(row, "target"));
  const [receivers, taken] = await link.pipeline([
    { sql: RECEIVERS, parameters: [arrayText([...new Set(targets)])] },
    { sql: TAKEN, parameters: [arrayText(targets), arrayText(addressed.map((row) => keptText(deliveryId(row))))] },
  ]);
  const there = new Set(receivers?.map((row) => plain(row, "agent_id")));
  const done = new Set(taken?.map((row) => doneName(plain(row, "agent_id"), text(row, "message_id"))));
  const astray = new Map<string, { readonly lost: boolean }>();
  for (const row of messages) {
    const lost = !there.has(text(row, "target"));
    if (lost || done.has(doneName(text(row, "target"), deliveryId(row)))) astray.set(deliveryId(row), { lost });
  }
  return astray;
}

function exchangesFact(row: Row | undefined): AuditFacts["exchanges"] {
  return row === undefined ? null : { known: number(row, "known"), kept: number(row, "kept"), newest: numberOrNull(row, "newest"), oldest: numberOrNull(row, "oldest") };
}

function chainFact(row: Row | undefined): AuditFacts["chain"] {
  return row === undefined ? null : { rows: number(row, "known"), newest: numberOrNull(row, "newest"), digests: number(row, "digests"), first: row["first"] as string | null, last: row["last"] as string | null };
}

async function factsOf(link: Link, agentIds: readonly string[]): Promise<(agentId: string) => AuditFacts> {
  const parameters = [arrayText(agentIds)];
  const answers = await link.pipeline([WAITS, EXCHANGES, DOUBLED, LOOSE, CHAINS, ENTRIES, TIMERS].map((sql) => ({ sql, parameters })));
  const astray = await astrayOf(link, answers[5] ?? []);
  const [waits, exchanges, doubled, loose, chains, entries, timers] = answers.map(byAgent) as [Map<string, Row[]>, Map<string, Row[]>, Map<string, Row[]>, Map<string, Row[]>, Map<string, Row[]>, Map<string, Row[]>, Map<string, Row[]>];
  return (agentId) => {
    const [wait] = waits.get(agentId) ?? [];
    const own = entries.get(agentId) ?? [];
    const [loosest] = loose.get(agentId) ?? [];
    const [clock] = timers.get(agentId) ?? [];
    return {
      wait: wait === undefined ? null : { sequence: number(wait, "sequence"), messageId: text(wait, "message_id"), done: flag(wait, "done") },
      exchanges: exchangesFact(exchanges.get(agentId)?.[0]),
      doubled: (doubled.get(agentId) ?? []).map((row) => ({ messageId: text(row, "message_id"), times: number(row, "times") })),
      loose: loosest === undefined ? null : number(loosest, "sequence"),
      chain: chainFact(chains.get(agentId)?.[0]),
      outbox: own.length === 0 ? null : { messages: own.filter((row) => plain(row, "kind") === "message").length, newest: own.reduce((newest, row) => Math.max(newest, number(row, "sequence")), 0) },
      astray: own.flatMap((row) => {
        const found = astray.get(deliveryId(row));
        return found === undefined ? [] : [{ sequence: number(row, "sequence"), place: number(row, "place"), target: text(row, "target"), lost: found.lost }];
      }),
      timers: clock === undefined ? 0 : number(clock, "n"),
    };
  };
}

async function inSnapshot<Value>(link: Link, read: () => Promise<Value>): Promise<Value> {
  await link.query(BEGIN_SNAPSHOT.sql, []);
  try {
    return await read();
  } finally {
    await rollBack(link);
  }
}

export function auditAgent(link: Link, agentId: string): Promise<Audit | null> {
  if (!isId(agentId)) return Promise.resolve(null);
  return inSnapshot(link, async () => {
    const [row] = await link.query(`${SUBJECTS} WHERE a.agent_id = $1`, [agentId]);
    if (row === undefined) return null;
    const facts = await factsOf(link, [agentId]);
    return auditOf(subjectOf(row), facts(agentId), [], FINDINGS_OF_ONE);
  });
}

export function auditSome(link: Link, afterAgentId: string, findingsMax: number): Promise<AuditPart> {
  return inSnapshot(link, async () => {
    const rows = await link.query(`${SUBJECTS} WHERE a.agent_id > $1 ORDER BY a.agent_id LIMIT $2`, [afterId(afterAgentId), PART_AGENTS]);
    const subjects = rows.map(subjectOf);
    const facts = await factsOf(link, subjects.map(({ agentId }) => agentId));
    const findings: AuditFinding[] = [];
    let sum: Sums = NO_SUMS;
    for (const subject of subjects) sum = sumOf(sum, auditOf(subject, facts(subject.agentId), findings, findingsMax));
    return { audit: { ...sum, findings }, next: subjects.length < PART_AGENTS ? null : (subjects.at(-1)?.agentId ?? null) };
  });
}
