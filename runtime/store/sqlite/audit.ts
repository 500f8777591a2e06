/**
 * The books of agents, proven from rows: what the account says is compared with the
 * exchanges, waits, states and entries that it is about. Reads only.
 */
import type { DatabaseSync } from "node:sqlite";
import type { Audit, AuditFinding } from "../store.ts";
import type { SyncStore } from "./protocol.ts";
import { number, text, type Row } from "./row.ts";

interface Check {
  readonly name: string;
  /** Gives agent_id and what the explanation needs; `SCOPE` stands for which agents. */
  readonly sql: string;
  readonly explain: (row: Row) => string;
}

const AGENT = "agents JOIN agent_progress USING (agent_key)";
const WAITING = "(SELECT count(*) FROM waits WHERE waits.agent_key = agents.agent_key AND message_id <> '')";

const CHECKS: readonly Check[] = [
  {
    name: "account",
    sql: `SELECT agent_id, received, done, dead_lettered, ${WAITING} AS waiting FROM ${AGENT} WHERE received <> done + dead_lettered + ${WAITING} AND SCOPE`,
    explain: (row) => `it received ${number(row, "received")} messages, but ${number(row, "done")} are done, ${number(row, "waiting")} wait and ${number(row, "dead_lettered")} are dead letters`,
  },
  {
    name: "account",
    sql: `SELECT agent_id, done, exchange_sequence FROM ${AGENT} WHERE done <> exchange_sequence AND SCOPE`,
    explain: (row) => `its account has ${number(row, "done")} messages done, and its conversation counts ${number(row, "exchange_sequence")}`,
  },
  {
    name: "doubled",
    sql: "SELECT agent_id, message_id, count(*) AS times FROM exchanges JOIN agents USING (agent_key) WHERE SCOPE GROUP BY agent_key, message_id HAVING count(*) > 1",
    explain: (row) => `the message ${text(row, "message_id")} was done ${number(row, "times")} times`,
  },
  {
    name: "doubled",
    sql: "SELECT agent_id, waits.message_id AS message_id FROM waits JOIN agents USING (agent_key) JOIN exchanges ON exchanges.agent_key = waits.agent_key AND exchanges.message_id = waits.message_id WHERE SCOPE",
    explain: (row) => `the message ${text(row, "message_id")} is done and waits at the same time`,
  },
  {
    name: "sequence",
    sql: `SELECT agent_id, count(*) AS kept, min(sequence) AS low, max(sequence) AS high, exchange_sequence FROM ${AGENT} JOIN exchanges USING (agent_key)
      WHERE SCOPE AND length(body) > 0 GROUP BY agent_key HAVING count(*) <> max(sequence) - min(sequence) + 1 OR max(sequence) <> exchange_sequence`,
    explain: (row) => `its conversation has ${number(row, "kept")} exchanges from ${number(row, "low")} to ${number(row, "high")} and should end at ${number(row, "exchange_sequence")} without a gap`,
  },
  {
    name: "sequence",
    sql: `SELECT agent_id, commit_sequence, max(sequence) AS newest FROM ${AGENT} JOIN states USING (agent_key) WHERE SCOPE GROUP BY agent_key HAVING max(sequence) > commit_sequence`,
    explain: (row) => `it has a state of commit ${number(row, "newest")}, and committed only ${number(row, "commit_sequence")} times`,
  },
  {
    name: "chain",
    sql: `SELECT agent_id, min(sequence) AS oldest FROM agents JOIN states USING (agent_key) WHERE SCOPE
      GROUP BY agent_key HAVING sum(kind = 'base') = 0 OR min(sequence) < min(CASE WHEN kind = 'base' THEN sequence END)`,
    explain: (row) => `its oldest state, of commit ${number(row, "oldest")}, builds on no base`,
  },
  {
    name: "wait",
    sql: `SELECT agent_id, waits.sequence AS sequence FROM waits JOIN agents USING (agent_key) JOIN agent_progress USING (agent_key)
      WHERE SCOPE AND (waits.sequence <> commit_sequence OR NOT EXISTS (SELECT 1 FROM states WHERE states.agent_key = waits.agent_key AND states.sequence = waits.sequence AND kind = 'wait'))`,
    explain: (row) => `it waits since commit ${number(row, "sequence")}, of which there is no suspended state, or which is not its last`,
  },
  {
    name: "outbox",
    sql: `SELECT agent_id, sequence, commit_sequence FROM outbox JOIN agents USING (agent_key) JOIN agent_progress USING (agent_key) WHERE SCOPE AND sequence > commit_sequence`,
    explain: (row) => `its outbox has an entry of commit ${number(row, "sequence")}, and it committed only ${number(row, "commit_sequence")} times`,
  },
  {
    name: "outbox",
    sql: `SELECT agent_id, target, place, sequence FROM outbox JOIN agents USING (agent_key) WHERE SCOPE AND kind = 'message'
      AND EXISTS (SELECT 1 FROM exchanges JOIN agents AS receiver USING (agent_key) WHERE receiver.agent_id = target AND message_id = 'out-' || agents.agent_id || '-' || outbox.sequence || '-' || place)`,
    explain: (row) => `entry ${number(row, "place")} of its commit ${number(row, "sequence")} is still in its outbox, and agent ${text(row, "target")} has done it`,
  },
];

const TOTALS = `
  SELECT count(*) AS agents, coalesce(sum(received), 0) AS received, coalesce(sum(done), 0) AS done, coalesce(sum(dead_lettered), 0) AS dead_lettered,
    (SELECT count(*) FROM waits JOIN agents USING (agent_key) WHERE message_id <> '' AND SCOPE) AS pending,
    (SELECT count(*) FROM outbox JOIN agents USING (agent_key) WHERE kind = 'message' AND SCOPE) AS outbox,
    (SELECT count(*) FROM timers JOIN agents USING (agent_key) WHERE SCOPE) AS timers
  FROM ${AGENT} WHERE SCOPE`;

export function audits(db: DatabaseSync): Pick<SyncStore, "auditAgent" | "auditHost"> {
  const prepared = (scope: string) => ({
    totals: db.prepare(TOTALS.replaceAll("SCOPE", scope)),
    checks: CHECKS.map((check) => ({ ...check, statement: db.prepare(`${check.sql.replaceAll("SCOPE", scope)} LIMIT @most`) })),
  });
  const one = prepared("agents.agent_id = @agent");
  const all = prepared("1");
  const exists = db.prepare("SELECT 1 FROM agents WHERE agent_id = ?");

  const audit = ({ totals, checks }: typeof one, scope: Readonly<Record<string, string>>, most: number): Audit => {
    const row = totals.get(scope) as Row;
    const findings: AuditFinding[] = [];
    for (const { name, statement, explain } of checks) {
      const left = most - findings.length;
      if (left <= 0) break;
      for (const found of statement.all({ ...scope, most: left })) findings.push({ agentId: text(found, "agent_id"), check: name, explanation: explain(found) });
    }
    const count = (column: string): number => number(row, column);
    return { agents: count("agents"), received: count("received"), done: count("done"), deadLettered: count("dead_lettered"), pending: count("pending"), outbox: count("outbox"), timers: count("timers"), findings };
  };
  return {
    auditAgent: (agentId) => (exists.get(agentId) === undefined ? null : audit(one, { agent: agentId }, FINDINGS_OF_ONE)),
    auditHost: (findingsMax) => audit(all, {}, findingsMax),
  };
}

const FINDINGS_OF_ONE = 100;
