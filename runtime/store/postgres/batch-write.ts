/** A plan as statements, few and for many rows each; their order matters where it says so. */
import type { AgentRecord, DeadLetter } from "../store.ts";
import type { AgentDesk, DeskAgent } from "./agent-desk.ts";
import type { BatchPlan, Stretch, TimerFold } from "./batch-plan.ts";
import type { Statement } from "./link.ts";
import { insertRows, multiRow, upsertRows } from "./multi-row.ts";
import { keptBytes, keptText, type ArrayItem } from "./stored-text.ts";

type RowValues = readonly ArrayItem[];

const writeBuilds = insertRows("builds", { build_id: "uuid", digest: "text", preparation: "text" }, "ON CONFLICT (build_id) DO NOTHING");

const writeRecords = upsertRows("agents", ["agent_id"], {
  agent_id: "uuid", session_id: "uuid", module: "text", digest: "text", state: "text", live: "boolean", parent_agent_id: "text",
  created_at: "double precision", updated_at: "double precision", metadata: "text", config: "text", context: "text", status_message: "text",
});

const writeProgress = upsertRows("agent_progress", ["agent_id"], {
  agent_id: "uuid", owner: "uuid", epoch: "bigint", commit_sequence: "bigint", exchange_sequence: "bigint", received: "bigint", done: "bigint", dead_lettered: "bigint",
  wait_message_id: "text", base_sequence: "bigint", kept_from: "bigint", build_id: "uuid", bodies_after: "bigint", bodies_trimmed: "bigint",
  messages_processed: "bigint", operations_completed: "bigint", errors_encountered: "bigint", response_time_total_ms: "double precision", last_activity_at: "double precision",
});

const writeCommits = insertRows("commits", {
  agent_id: "uuid", sequence: "bigint", kind: "text", cause: "text", cause_id: "text", committed_at: "double precision", build_id: "uuid", image: "bytea",
});

const STRETCH = { agent_id: "uuid", first: "bigint", beyond: "bigint" } as const;
const trimHistory = multiRow(STRETCH, (rows) => `DELETE FROM commits c USING ${rows} WHERE c.agent_id = t.agent_id AND c.sequence >= t.first AND c.sequence < t.beyond`);
const trimBodies = multiRow(STRETCH, (rows) => `
  UPDATE exchanges e SET body = NULL FROM ${rows} WHERE e.agent_id = t.agent_id AND e.sequence >= t.first AND e.sequence < t.beyond AND e.body IS NOT NULL`);

const writeExchanges = insertRows("exchanges", {
  agent_id: "uuid", sequence: "bigint", message_id: "text", message_hash: "text", completed_at: "double precision", body: "bytea",
});

const endWaits = multiRow({ agent_id: "uuid" }, (rows) => `DELETE FROM waits w USING ${rows} WHERE w.agent_id = t.agent_id`);
const writeWaits = upsertRows("waits", ["agent_id"], { agent_id: "uuid", sequence: "bigint", message_id: "text", message_hash: "text", body: "bytea" });

const takeEntries = multiRow({ agent_id: "uuid", sequence: "bigint", place: "bigint" }, (rows) => `
  DELETE FROM outbox o USING ${rows} WHERE o.agent_id = t.agent_id AND o.sequence = t.sequence AND o.place = t.place`);
// The rows come out of the arrays in their order, and so does the count.
const writeEntries = multiRow(
  { agent_id: "uuid", sequence: "bigint", place: "bigint", kind: "text", target: "text", body: "bytea", created_at: "double precision" },
  (rows) => `
  INSERT INTO outbox (agent_id, sequence, place, entry_key, kind, target, body, created_at)
  SELECT agent_id, sequence, place, nextval('outbox_keys'), kind, target, body, created_at FROM ${rows}`,
);

const silence = multiRow({ agent_id: "uuid" }, (rows) => `DELETE FROM timers x USING ${rows} WHERE x.agent_id = t.agent_id`);
const dropTimers = multiRow({ agent_id: "uuid", timer_id: "text", due_at: "double precision" }, (rows) => `
  DELETE FROM timers x USING ${rows} WHERE x.agent_id = t.agent_id AND x.timer_id = t.timer_id AND (t.due_at IS NULL OR x.due_at = t.due_at)`);
const setTimers = upsertRows("timers", ["agent_id", "timer_id"], { agent_id: "uuid", timer_id: "text", due_at: "double precision", payload: "bytea" });

const dropDocuments = multiRow({ session_id: "uuid", key: "bytea" }, (rows) => `DELETE FROM documents d USING ${rows} WHERE d.session_id = t.session_id AND d.key = t.key`);
// `version` counts the writes of the batch: they come on top of what is there.
const writeDocuments = insertRows(
  "documents",
  { session_id: "uuid", key: "bytea", version: "bigint", updated_at: "double precision", agent_id: "uuid", bytes: "bytea" },
  `ON CONFLICT (session_id, key) DO UPDATE SET version = documents.version + excluded.version, updated_at = excluded.updated_at, agent_id = excluded.agent_id, bytes = excluded.bytes`,
);

const dropLetters = multiRow({ dead_letter_id: "bytea" }, (rows) => `DELETE FROM dead_letters d USING ${rows} WHERE d.dead_letter_id = t.dead_letter_id`);
const putLetters = upsertRows("dead_letters", ["dead_letter_id"], {
  dead_letter_id: "bytea", agent_id: "text", session_id: "text", source_agent_id: "text", message_id: "text",
  reason: "text", explanation: "text", attempts: "bigint", dead_at: "double precision", body: "bytea",
});

const writeActive = multiRow({ session_id: "uuid", changed: "text", come: "text" }, (rows) => `
  UPDATE agent_sessions s SET active_agents = (s.active_agents - string_to_array(t.changed, ',')) || t.come::jsonb FROM ${rows} WHERE s.session_id = t.session_id`);

/** A letter that came back under its old id replaces the one that is there. */
export function lettersStatement(letters: readonly DeadLetter[]): Statement | null {
  return putLetters(letters.map((letter) => {
    const { deadLetterId, agentId, sessionId, sourceAgentId, messageId, reason, explanation, attempts, deadAt, body } = letter;
    return [
      keptBytes(deadLetterId), keptText(agentId), keptText(sessionId), keptText(sourceAgentId), keptText(messageId), keptText(reason), keptText(explanation), attempts, deadAt, body,
    ];
  }));
}

export function takeStatement(keys: BatchPlan["taken"]): Statement | null {
  return takeEntries(keys.map(({ agentId, commitSequence, index }) => [agentId, commitSequence, index]));
}

function recordRow({ agentId, sessionId, module, digest, state, parentAgentId, createdAt, updatedAt, metadata, config, context, statusMessage }: AgentRecord): RowValues {
  return [
    agentId, sessionId, keptText(module), keptText(digest), state, state !== "TERMINATED", parentAgentId === null ? null : keptText(parentAgentId), createdAt, updatedAt,
    JSON.stringify(metadata), JSON.stringify(config), JSON.stringify(context), keptText(statusMessage),
  ];
}

function progressRow(agent: DeskAgent): RowValues {
  const { counters } = agent;
  return [
    agent.agentId, agent.owner, agent.epoch, agent.commitSequence, agent.exchangeSequence, agent.received, agent.done, agent.deadLettered,
    agent.held === null ? null : keptText(agent.held), agent.baseSequence, agent.keptFrom, agent.buildId, agent.bodiesAfter, agent.bodiesTrimmed,
    counters.messagesProcessed, counters.operationsCompleted, counters.errorsEncountered, counters.responseTimeTotalMs, counters.lastActivityAt,
  ];
}

const stretchRow = ({ agentId, from, to }: Stretch): RowValues => [agentId, from, to];

/** The ids that come to a session's array and those that leave it, for each session that they change. */
function activeRows(desk: AgentDesk): RowValues[] {
  const changes = new Map<string, { readonly come: string[]; readonly gone: string[] }>();
  const of = (sessionId: string) => {
    let change = changes.get(sessionId);
    if (change === undefined) changes.set(sessionId, (change = { come: [], gone: [] }));
    return change;
  };
  for (const [agentId, before] of desk.placesBefore) {
    const record = desk.plan.records.get(agentId);
    if (record === undefined) continue;
    const live = record.state !== "TERMINATED";
    if (before?.live === live && before.sessionId === record.sessionId) continue;
    if (before?.live === true) of(before.sessionId).gone.push(agentId);
    if (live) of(record.sessionId).come.push(agentId);
  }
  const rows = [...changes].filter(([, { come, gone }]) => come.length + gone.length > 0);
  return rows.toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([sessionId, { come, gone }]) => [sessionId, [...gone, ...come].join(","), JSON.stringify(come)]);
}

function timerStatements({ silenced, timers }: BatchPlan): (Statement | null)[] {
  const all = [...timers].flatMap(([agentId, changes]) => [...changes].map(([timerId, change]) => ({ agentId, timerId: keptText(timerId), change })));
  const of = <Kind extends TimerFold["kind"]>(...kinds: Kind[]) => all.filter((one): one is typeof one & { change: Extract<TimerFold, { kind: Kind }> } => kinds.includes(one.change.kind as Kind));
  return [
    silence([...silenced].map((agentId) => [agentId])),
    dropTimers(of("cancel", "fired").map(({ agentId, timerId, change }) => [agentId, timerId, change.kind === "fired" ? change.dueAt : null])),
    setTimers(of("set").map(({ agentId, timerId, change }) => [agentId, timerId, change.dueAt, change.payload])),
  ];
}

function documentStatements(plan: BatchPlan): (Statement | null)[] {
  // One order everywhere, since several agents and hosts write a session's documents.
  const folds = [...plan.documents.values()].toSorted((a, b) => (`${a.sessionId} ${a.key}` < `${b.sessionId} ${b.key}` ? -1 : 1));
  const written = folds.flatMap(({ sessionId, key, writes, last }): RowValues[] => (last === null ? [] : [[sessionId, keptBytes(key), writes, last.at, last.agentId, last.bytes]]));
  return [dropDocuments(folds.filter((fold) => fold.dropped).map(({ sessionId, key }) => [sessionId, keptBytes(key)])), writeDocuments(written)];
}

function letterStatements({ letters }: BatchPlan): (Statement | null)[] {
  const gone = [...letters].filter(([, letter]) => letter === null).map(([id]): RowValues => [keptBytes(id)]);
  return [dropLetters(gone), lettersStatement([...letters.values()].filter((letter) => letter !== null))];
}

/** Rows are made before they are trimmed: a batch may hold more commits than are kept. */
export function writesOf(desk: AgentDesk): Statement[] {
  const { plan, moved } = desk;
  const waits = [...plan.waits];
  const statements: (Statement | null)[] = [
    writeBuilds([...plan.builds].map(([id, { digest, preparation }]) => [id, keptText(digest), keptText(preparation)])),
    writeRecords([...plan.records.values()].map(recordRow)),
    writeProgress([...moved].map(progressRow)),
    writeCommits(plan.commits.map((row) => [row.agentId, row.sequence, row.kind, row.cause, keptText(row.causeId), row.committedAt, row.buildId, row.image])),
    trimHistory(plan.history.map(stretchRow)),
    writeExchanges(plan.exchanges.map(({ agentId, exchange: { sequence, messageId, messageHash, completedAt, body } }) =>
      [agentId, sequence, keptText(messageId), keptText(messageHash), completedAt, body.length === 0 ? null : body])),
    trimBodies(plan.bodies.map(stretchRow)),
    endWaits(waits.filter(([, wait]) => wait === null).map(([agentId]) => [agentId])),
    writeWaits(waits.flatMap(([agentId, set]): RowValues[] => (set === null ? [] : [[agentId, set.sequence, keptText(set.wait.messageId), keptText(set.wait.messageHash), set.wait.body]]))),
    takeStatement(plan.taken),
    writeEntries([...plan.entries.values()].map(({ key, entry }) => [key.agentId, key.commitSequence, key.index, entry.kind, keptText(entry.target), entry.body, entry.createdAt])),
    ...timerStatements(plan),
    ...documentStatements(plan),
    ...letterStatements(plan),
    writeActive(activeRows(desk)),
  ];
  return statements.filter((statement) => statement !== null);
}
