/**
 * The books, proven from rows: what an agent's progress says is held against its
 * commits, its wait and its effects (the rules: ../audit-rules.ts). Nothing is changed,
 * and one agent's numbers are of one moment. A host's audit goes from agent to agent in
 * parts that take a few milliseconds each, with other calls between them.
 */
import type { DatabaseSync, StatementSync } from "node:sqlite";
import { systemClock, type Clock } from "../../core/clock.ts";
import { auditOf, type AuditFacts } from "../audit-rules.ts";
import { NO_SUMS, sumOf, type Sums } from "../host-audit.ts";
import type { Audit, AuditFinding } from "../store.ts";
import { progressOf, type Progress } from "./agent-progress.ts";
import { commitKey, SEQUENCE } from "./commit-key.ts";
import type { SyncStore } from "./protocol.ts";
import { number, numberOrNull, text, textOrNull, type Row } from "./row.ts";

const PART_MS = 15;
const PART_AGENTS = 2_000;
const FINDINGS_OF_ONE = 100;

interface Subject extends Progress {
  readonly agentId: string;
  readonly live: boolean;
}

function subjectOf(row: Row): Subject {
  return { ...progressOf(row), agentId: text(row, "agent_id"), live: number(row, "live") === 1 };
}

/** Everything of one agent, from its first row to its last. */
const OWN = `commit_key >= ${commitKey("?1", "0")} AND commit_key < ${commitKey("(?1 + 1)", "0")}`;

class Auditor {
  readonly #chain: StatementSync;
  readonly #loose: StatementSync;
  readonly #exchanges: StatementSync;
  readonly #doubled: StatementSync;
  readonly #wait: StatementSync;
  readonly #entries: StatementSync;
  readonly #astray: StatementSync;
  readonly #timers: StatementSync;

  constructor(db: DatabaseSync) {
    const since = `commit_key >= ${commitKey("?1", "?2")} AND commit_key < ${commitKey("(?1 + 1)", "0")}`;
    this.#chain = db.prepare(`
      SELECT count(*) AS rows, max(commit_key) & 68719476735 AS newest, count(DISTINCT digest) AS digests,
        (SELECT kind || iif(image IS NULL, ' without its image', '') FROM commits WHERE commit_key = ${commitKey("?1", "?2")}) AS first,
        (SELECT kind FROM commits WHERE ${OWN} ORDER BY commit_key DESC LIMIT 1) AS last
      FROM commits LEFT JOIN builds USING (build_key) WHERE ${since} AND kind IS NOT NULL`);
    this.#loose = db.prepare(`SELECT ${SEQUENCE} FROM commits WHERE ${OWN} AND image IS NOT NULL LIMIT 1`);
    this.#exchanges = db.prepare(`
      SELECT count(*) AS known, max(exchange_sequence) AS newest,
        count(*) FILTER (WHERE length(body) > 0) AS kept, min(exchange_sequence) FILTER (WHERE length(body) > 0) AS oldest
      FROM commits WHERE ${OWN} AND message_id IS NOT NULL`);
    // By its rows and not by the index, which would not let a message in twice.
    this.#doubled = db.prepare(`SELECT message_id, count(*) AS times FROM commits NOT INDEXED WHERE ${OWN} AND message_id IS NOT NULL GROUP BY message_id HAVING count(*) > 1`);
    this.#wait = db.prepare(`
      SELECT sequence, message_id, EXISTS (SELECT 1 FROM commits WHERE agent_key = ?1 AND message_id = waits.message_id) AS done FROM waits WHERE agent_key = ?1`);
    this.#entries = db.prepare("SELECT count(*) FILTER (WHERE kind = 'message') AS messages, max(sequence) AS newest FROM outbox WHERE agent_key = ?");
    this.#astray = db.prepare(`
      SELECT sequence, place, target, receiver.agent_key IS NULL AS lost,
        EXISTS (SELECT 1 FROM commits WHERE commits.agent_key = receiver.agent_key AND message_id = 'out-' || ?2 || '-' || sequence || '-' || place) AS taken
      FROM outbox LEFT JOIN agents AS receiver ON receiver.agent_id = target
      WHERE outbox.agent_key = ?1 AND kind = 'message' AND (lost OR taken)`);
    this.#timers = db.prepare("SELECT count(*) AS n FROM timers WHERE agent_key = ?");
  }

  /** One agent's books; findings are added to `findings` while it has fewer than `findingsMax`. */
  audit(agent: Subject, findings: AuditFinding[], findingsMax: number): Audit {
    return auditOf(agent, this.#factsOf(agent), findings, findingsMax);
  }

  #factsOf(agent: Subject): AuditFacts {
    const { agentKey, baseSequence, commitSequence, exchangeSequence, done } = agent;
    const anyDone = exchangeSequence > 0 || done > 0;
    const loose = commitSequence > 0 && baseSequence === 0 ? this.#loose.get(agentKey) : undefined;
    const outbox = this.#outboxOf(agentKey);
    return {
      wait: this.#waitOf(agentKey),
      exchanges: anyDone ? this.#exchangesOf(agentKey) : null,
      doubled: anyDone ? this.#doubled.all(agentKey).map((row) => ({ messageId: text(row, "message_id"), times: number(row, "times") })) : [],
      loose: loose === undefined ? null : number(loose, "sequence"),
      chain: commitSequence > 0 && baseSequence > 0 ? this.#chainOf(agentKey, baseSequence) : null,
      outbox,
      astray: outbox === null ? [] : this.#astrayOf(agent),
      timers: number(this.#timers.get(agentKey) ?? {}, "n"),
    };
  }

  #waitOf(agentKey: number): AuditFacts["wait"] {
    const row = this.#wait.get(agentKey);
    return row === undefined ? null : { sequence: number(row, "sequence"), messageId: text(row, "message_id"), done: number(row, "done") === 1 };
  }

  #exchangesOf(agentKey: number): AuditFacts["exchanges"] {
    const row = this.#exchanges.get(agentKey) ?? {};
    return { known: number(row, "known"), kept: number(row, "kept"), newest: numberOrNull(row, "newest"), oldest: numberOrNull(row, "oldest") };
  }

  #chainOf(agentKey: number, baseSequence: number): AuditFacts["chain"] {
    const row = this.#chain.get(agentKey, baseSequence) ?? {};
    return { rows: number(row, "rows"), newest: numberOrNull(row, "newest"), digests: number(row, "digests"), first: textOrNull(row, "first"), last: textOrNull(row, "last") };
  }

  #outboxOf(agentKey: number): AuditFacts["outbox"] {
    const row = this.#entries.get(agentKey) ?? {};
    const newest = numberOrNull(row, "newest");
    return newest === null ? null : { messages: number(row, "messages"), newest };
  }

  #astrayOf({ agentKey, agentId }: Subject): AuditFacts["astray"] {
    return this.#astray.all(agentKey, agentId).map((row) => ({
      sequence: number(row, "sequence"), place: number(row, "place"), target: text(row, "target"), lost: number(row, "lost") === 1,
    }));
  }
}

export function auditTable(db: DatabaseSync, clock: Pick<Clock, "monotonic"> = systemClock): Pick<SyncStore, "auditAgent" | "auditSome"> {
  const auditor = new Auditor(db);
  const subject = "SELECT agent_id, live, agent_progress.* FROM agents JOIN agent_progress USING (agent_key)";
  const one = db.prepare(`${subject} WHERE agent_id = ?`);
  const after = db.prepare(`${subject} WHERE agent_id > ? ORDER BY agent_id LIMIT ?`);

  return {
    auditAgent(agentId) {
      const row = one.get(agentId);
      return row === undefined ? null : auditor.audit(subjectOf(row), [], FINDINGS_OF_ONE);
    },
    auditSome(afterAgentId, findingsMax) {
      const findings: AuditFinding[] = [];
      const until = clock.monotonic() + PART_MS;
      let [sum, last, seen]: [Sums, string, number] = [NO_SUMS, afterAgentId, 0];
      for (const row of after.iterate(afterAgentId, PART_AGENTS)) {
        const agent = subjectOf(row);
        sum = sumOf(sum, auditor.audit(agent, findings, findingsMax));
        last = agent.agentId;
        seen++;
        if (clock.monotonic() >= until) return { audit: { ...sum, findings }, next: last };
      }
      return { audit: { ...sum, findings }, next: seen < PART_AGENTS ? null : last };
    },
  };
}
