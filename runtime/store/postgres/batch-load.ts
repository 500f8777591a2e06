/**
 * Reads, under lock, what a batch needs to know. All statements go down the connection
 * in one go. Locks are taken in one order everywhere (the own host, sessions, progress,
 * outbox; each by id), so that hosts wait for each other and not in a circle; a circle all the same is
 * broken by the database, and the batch is run again. Each statement reads anew what was
 * committed when its locks were granted.
 */
import { isId } from "../../core/ids.ts";
import type { AgentCommit, AgentRecord, OutboxKey } from "../store.ts";
import { doneName, type DeskAgent, type Loaded } from "./agent-desk.ts";
import type { BatchCall } from "./batch-call.ts";
import { entryName } from "./batch-plan.ts";
import type { Rows, Statement } from "./link.ts";
import { flag, number, plain, plainOrNull, text, textOrNull, type Row } from "./row.ts";
import { arrayText, keptText } from "./stored-text.ts";
import { standingStatement } from "./transaction.ts";

const SESSIONS = "SELECT session_id FROM agent_sessions WHERE session_id = ANY($1::uuid[]) ORDER BY session_id FOR UPDATE";
const PROGRESS = `
  SELECT agent_id, owner, epoch, commit_sequence, exchange_sequence, received, done, dead_lettered, wait_message_id, base_sequence, kept_from, build_id,
    bodies_after, bodies_trimmed, messages_processed, operations_completed, errors_encountered, response_time_total_ms, last_activity_at
  FROM agent_progress WHERE agent_id = ANY($1::uuid[]) ORDER BY agent_id FOR UPDATE`;
/** Read once the agents are locked: an owner that is not among them owns nothing any more. */
const LIVE_HOSTS = "SELECT host_id FROM hosts WHERE state <> 'dead'";
const PLACES = "SELECT agent_id, session_id, live FROM agents WHERE agent_id = ANY($1::uuid[])";
const DONE = `
  SELECT e.agent_id, e.message_id FROM unnest($1::uuid[], $2::text[]) AS t (agent_id, message_id)
  JOIN exchanges e ON e.agent_id = t.agent_id AND e.message_id = t.message_id`;
const ENTRIES = `
  SELECT o.agent_id, o.sequence, o.place FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS t (agent_id, sequence, place)
  JOIN outbox o ON o.agent_id = t.agent_id AND o.sequence = t.sequence AND o.place = t.place ORDER BY o.entry_key FOR UPDATE OF o`;
const BASES = `
  SELECT c.agent_id, c.sequence FROM unnest($1::uuid[], $2::bigint[]) AS t (agent_id, newest)
  JOIN agent_progress p ON p.agent_id = t.agent_id
  JOIN commits c ON c.agent_id = t.agent_id AND c.sequence >= p.kept_from AND c.sequence <= t.newest
  WHERE c.kind = 'base' ORDER BY c.agent_id, c.sequence`;

function deskAgentOf(row: Row): DeskAgent {
  const held = textOrNull(row, "wait_message_id");
  return {
    agentId: plain(row, "agent_id"),
    owner: plainOrNull(row, "owner"),
    epoch: number(row, "epoch"),
    commitSequence: number(row, "commit_sequence"),
    exchangeSequence: number(row, "exchange_sequence"),
    received: number(row, "received"),
    done: number(row, "done"),
    deadLettered: number(row, "dead_lettered"),
    waiting: held !== null,
    pending: held !== null && held !== "",
    held,
    baseSequence: number(row, "base_sequence"),
    keptFrom: number(row, "kept_from"),
    buildId: plainOrNull(row, "build_id"),
    bodiesAfter: number(row, "bodies_after"),
    bodiesTrimmed: number(row, "bodies_trimmed"),
    counters: {
      messagesProcessed: number(row, "messages_processed"),
      operationsCompleted: number(row, "operations_completed"),
      errorsEncountered: number(row, "errors_encountered"),
      responseTimeTotalMs: number(row, "response_time_total_ms"),
      lastActivityAt: number(row, "last_activity_at"),
    },
  };
}

/** What a batch wants to know, gathered from its calls. */
class Wants {
  readonly agents = new Set<string>();
  readonly sessions = new Set<string>();
  readonly messages: { readonly agentId: string; readonly messageId: string }[] = [];
  readonly entries = new Map<string, OutboxKey>();
  /** The newest commit that an agent's history may be trimmed to. */
  readonly bases = new Map<string, number>();
  places = false;
  hosts = false;

  constructor(calls: readonly BatchCall[]) {
    for (const call of calls) this.#want(call);
  }

  #want(call: BatchCall): void {
    switch (call.kind) {
      case "commit":
        return this.#wantCommit(call.commit);
      case "put":
        return this.#wantRecord(call.agent);
      case "claim":
        if (isId(call.agentId)) this.agents.add(call.agentId);
        return;
      case "acquire":
        this.hosts = true;
        if (isId(call.agentId)) this.agents.add(call.agentId);
        return;
      case "give":
        this.hosts = true;
        for (const agentId of call.agentIds) if (isId(agentId)) this.agents.add(agentId);
        return;
      case "settle":
        return;
    }
  }

  #wantRecord({ agentId, sessionId }: AgentRecord): void {
    if (isId(agentId)) this.agents.add(agentId);
    if (isId(sessionId)) this.sessions.add(sessionId);
    this.places = true;
  }

  #wantCommit({ agentId, commitSequence, agent, state, exchange, consumed, documents, keepCommits }: AgentCommit): void {
    if (!isId(agentId)) return;
    this.agents.add(agentId);
    if (agent !== null) this.#wantRecord(agent);
    if (documents.length > 0) this.places = true;
    if (exchange !== null) this.messages.push({ agentId, messageId: exchange.messageId });
    if (consumed !== null && isId(consumed.agentId)) this.entries.set(entryName(consumed), consumed);
    if (state?.kind === "base" && commitSequence - keepCommits > 0) this.bases.set(agentId, Math.max(this.bases.get(agentId) ?? 0, Math.floor(commitSequence - keepCommits)));
  }
}

type Take = (rows: Rows) => void;

/** The statements, and a function that makes of their rows what was asked for. `hostId` is whose the calls are; null in no fleet. */
export function loadOf(calls: readonly BatchCall[], hostId: string | null): { readonly statements: readonly Statement[]; readonly read: (answers: readonly Rows[]) => Loaded } {
  const wants = new Wants(calls);
  const sessions = new Set<string>();
  const standing = { stands: hostId === null };
  const liveHosts = new Set<string>();
  const loaded: Loaded = { hostId, standing, liveHosts, agents: new Map(), places: new Map(), sessions, done: new Set(), entries: new Set(), bases: new Map() };
  const asked: { readonly statement: Statement; readonly take: Take }[] = [];
  const ask = (sql: string, parameters: readonly string[], take: (row: Row) => void): void => {
    asked.push({ statement: { sql, parameters }, take: (rows) => rows.forEach(take) });
  };
  const agents = [...wants.agents].toSorted();
  if (hostId !== null) {
    const { sql } = standingStatement(hostId);
    ask(sql, [hostId], () => (standing.stands = true));
  }
  if (wants.sessions.size > 0) ask(SESSIONS, [arrayText([...wants.sessions])], (row) => sessions.add(plain(row, "session_id")));
  if (agents.length > 0) ask(PROGRESS, [arrayText(agents)], (row) => loaded.agents.set(plain(row, "agent_id"), deskAgentOf(row)));
  if (wants.hosts) ask(LIVE_HOSTS, [], (row) => liveHosts.add(plain(row, "host_id")));
  if (wants.places) ask(PLACES, [arrayText(agents)], (row) => loaded.places.set(plain(row, "agent_id"), { sessionId: plain(row, "session_id"), live: flag(row, "live") }));
  if (wants.messages.length > 0) {
    const columns = [arrayText(wants.messages.map(({ agentId }) => agentId)), arrayText(wants.messages.map(({ messageId }) => keptText(messageId)))];
    ask(DONE, columns, (row) => loaded.done.add(doneName(plain(row, "agent_id"), text(row, "message_id"))));
  }
  if (wants.entries.size > 0) {
    const keys = [...wants.entries.values()];
    const columns = [arrayText(keys.map((key) => key.agentId)), arrayText(keys.map((key) => key.commitSequence)), arrayText(keys.map((key) => key.index))];
    ask(ENTRIES, columns, (row) => loaded.entries.add(entryName({ agentId: plain(row, "agent_id"), commitSequence: number(row, "sequence"), index: number(row, "place") })));
  }
  if (wants.bases.size > 0) {
    ask(BASES, [arrayText([...wants.bases.keys()]), arrayText([...wants.bases.values()])], (row) => {
      const agentId = plain(row, "agent_id");
      const known = loaded.bases.get(agentId);
      if (known === undefined) loaded.bases.set(agentId, [number(row, "sequence")]);
      else known.push(number(row, "sequence"));
    });
  }
  return {
    statements: asked.map(({ statement }) => statement),
    read(answers) {
      for (const [index, { take }] of asked.entries()) take(answers[index] ?? ([] as unknown as Rows));
      return loaded;
    },
  };
}
