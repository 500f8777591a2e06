/**
 * The books, proven from rows: what an agent's progress says is held against its
 * commits, its wait and its effects. Nothing is changed, and one agent's numbers are
 * of one moment. A host's audit goes from agent to agent in parts that take a few
 * milliseconds each, with other calls between them.
 */
import type { DatabaseSync, StatementSync } from "node:sqlite";
import { systemClock, type Clock } from "../../core/clock.ts";
import type { Audit, AuditFinding } from "../store.ts";
import { progressOf, type Progress } from "./agent-progress.ts";
import { commitKey, SEQUENCE } from "./commit-key.ts";
import { NO_SUMS, sumOf, type Sums } from "./host-audit.ts";
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

type Say = (check: string, explanation: string) => void;

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
    const say: Say = (check, explanation) => {
      if (findings.length < findingsMax) findings.push({ agentId: agent.agentId, check, explanation });
    };
    const pending = this.#checkWait(agent, say);
    this.#checkAccount(agent, pending, say);
    this.#checkExchanges(agent, say);
    this.#checkChain(agent, say);
    const outbox = this.#checkOutbox(agent, say);
    const timers = number(this.#timers.get(agent.agentKey) ?? {}, "n");
    if (timers > 0 && !agent.live) say("timer", `it has ended, and ${timers} of its timers are still set`);
    const { received, done, deadLettered } = agent;
    return { agents: 1, received, done, deadLettered, pending, outbox, timers, findings };
  }

  #checkAccount({ received, done, deadLettered, exchangeSequence, pending: noted }: Subject, pending: number, say: Say): void {
    if (received !== done + deadLettered + pending) {
      say("account", `it received ${received} messages, but ${done} are done, ${pending} are in a wait and ${deadLettered} were given up`);
    }
    if (Number(noted) !== pending) say("account", `its account has ${Number(noted)} messages in a wait, and there are ${pending}`);
    if (done !== exchangeSequence) say("account", `it counts ${done} messages done, and its last exchange has the number ${exchangeSequence}`);
  }

  #checkWait({ agentKey, waiting, commitSequence, live }: Subject, say: Say): number {
    const wait = this.#wait.get(agentKey);
    if (wait === undefined) {
      if (waiting) say("wait", `it should be in a wait since commit ${commitSequence}, and the wait is lost`);
      return 0;
    }
    const [sequence, messageId] = [number(wait, "sequence"), text(wait, "message_id")];
    if (!waiting || sequence !== commitSequence) say("wait", `it has the wait of commit ${sequence}, which is over: ${commitSequence} is its last commit`);
    if (!live) say("wait", `it has ended, and is still in the wait of commit ${sequence}`);
    if (number(wait, "done") === 1) say("doubled", `message ${messageId} is done, and in a wait at the same time`);
    return messageId === "" ? 0 : 1;
  }

  #checkExchanges({ agentKey, done, exchangeSequence }: Subject, say: Say): void {
    if (exchangeSequence === 0 && done === 0) return;
    const row = this.#exchanges.get(agentKey) ?? {};
    const [known, kept, newest, oldest] = [number(row, "known"), number(row, "kept"), numberOrNull(row, "newest"), numberOrNull(row, "oldest")];
    if (known > done) say("account", `it counts ${done} messages done, and ${known} exchanges are remembered`);
    // Ids are forgotten by age, bodies in order: only among those with a body must none be missing.
    if (kept > 0 && (newest !== exchangeSequence || oldest === null || exchangeSequence - oldest + 1 !== kept)) {
      say("sequence", `it keeps ${kept} exchanges from number ${String(oldest)} to ${String(newest)}, and they should go on without a gap to ${exchangeSequence}`);
    }
    for (const twice of this.#doubled.all(agentKey)) say("doubled", `message ${text(twice, "message_id")} was done ${number(twice, "times")} times`);
  }

  #checkChain({ agentKey, baseSequence, commitSequence, waiting, live }: Subject, say: Say): void {
    if (commitSequence === 0) return;
    if (baseSequence === 0) {
      const loose = this.#loose.get(agentKey);
      if (loose !== undefined) say("chain", `the state of its commit ${number(loose, "sequence")} follows no base`);
      return;
    }
    const row = this.#chain.get(agentKey, baseSequence) ?? {};
    const [first, last, rows, newest] = [textOrNull(row, "first"), textOrNull(row, "last"), number(row, "rows"), numberOrNull(row, "newest")];
    if (newest !== commitSequence) say("sequence", `its last commit is ${commitSequence}, and the newest in its history is ${newest ?? "none"}`);
    if (first !== "base") say("chain", `commit ${baseSequence} should be its newest base, and ${first === null ? "is lost" : `is a ${first}`}`);
    else if (rows !== commitSequence - baseSequence + 1) say("chain", `of its ${commitSequence - baseSequence + 1} commits since base ${baseSequence}, ${rows} are there`);
    if (number(row, "digests") > 1) say("chain", `its states since base ${baseSequence} are of more than one revision`);
    if (live && (last === "wait") !== waiting) say("wait", waiting ? `it is in a wait, and its last state is a ${String(last)}` : "its last state is that of a wait, and it is in none");
  }

  #checkOutbox({ agentKey, agentId, commitSequence }: Subject, say: Say): number {
    const row = this.#entries.get(agentKey) ?? {};
    const newest = numberOrNull(row, "newest");
    if (newest === null) return 0;
    if (newest > commitSequence) say("outbox", `its outbox has an entry of commit ${newest}, and ${commitSequence} is its last`);
    for (const entry of this.#astray.all(agentKey, agentId)) {
      const name = `entry ${number(entry, "place")} of its commit ${number(entry, "sequence")}`;
      if (number(entry, "lost") === 1) say("outbox", `${name} is for agent ${text(entry, "target")}, which does not exist`);
      else say("outbox", `${name} is still in its outbox, and agent ${text(entry, "target")} has taken its message`);
    }
    return number(row, "messages");
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
