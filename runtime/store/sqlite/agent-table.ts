/** Agents: one by one, of a session, and all that live, page by page. Commits are in agent-commit.ts. */
import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite";
import { nobodyToClaim } from "../commit-rules.ts";
import type { AgentQuery, StoredAgent } from "../store.ts";
import { STORED_AGENTS, storedAgentOf, type AgentWriter } from "./agent-row.ts";
import type { SyncStore } from "./protocol.ts";
import { number, text } from "./row.ts";

/** What of a query is to be matched row by row, once an index has narrowed it. */
const REVISION = "module = coalesce(?, module) AND digest = coalesce(?, digest)";
const EVERY_AGENT = "agents INDEXED BY sqlite_autoindex_agents_1";

/**
 * Listing and counting. Which index a query goes by is said here and not left to SQLite,
 * which keeps no statistics of these tables: a parent has few agents, a session some, a
 * revision a million.
 */
class LiveAgents {
  readonly #db: DatabaseSync;
  /** By their text; there are few shapes of queries. */
  readonly #statements = new Map<string, StatementSync>();

  constructor(db: DatabaseSync) {
    this.#db = db;
  }

  #prepared(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#db.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  /** How a query is narrowed to few agents; null when nothing but the revision narrows it. */
  #narrowed({ parentAgentId, sessionId }: AgentQuery): { readonly from: string; readonly values: readonly string[] } | null {
    if (parentAgentId !== null) {
      const [also, values] = sessionId === null ? ["", [parentAgentId]] : ["session_id = ? AND", [parentAgentId, sessionId]];
      return { from: `agents INDEXED BY agents_by_parent WHERE parent_agent_id = ? AND live = 1 AND ${also}`, values };
    }
    return sessionId === null ? null : { from: "agents INDEXED BY agents_by_session WHERE session_id = ? AND live = 1 AND", values: [sessionId] };
  }

  list(query: AgentQuery, afterAgentId: string, limit: number): StoredAgent[] {
    const { module, digest } = query;
    const narrowed = this.#narrowed(query);
    if (narrowed !== null) return this.#page(`${narrowed.from} ${REVISION} AND`, [...narrowed.values, module, digest], afterAgentId, limit);
    if (module === null && digest === null) return this.#page(`${EVERY_AGENT} WHERE live = 1 AND`, [], afterAgentId, limit);
    // A page of each revision's own list, put together: so no page is sorted out of a million.
    const pages = this.#revisions(query).map((revision) =>
      this.#page("agents INDEXED BY agents_by_revision WHERE module = ? AND digest = ? AND live = 1 AND", [revision.module, revision.digest], afterAgentId, limit));
    return pages.length === 1 ? (pages[0] ?? []) : pages.flat().toSorted((a, b) => (a.record.agentId < b.record.agentId ? -1 : 1)).slice(0, limit);
  }

  #page(from: string, values: readonly SQLInputValue[], afterAgentId: string, limit: number): StoredAgent[] {
    const [table = "", where = ""] = from.split(" WHERE ");
    const sql = `SELECT * FROM ${table} CROSS JOIN agent_progress USING (agent_key) WHERE ${where} agent_id > ? ORDER BY agent_id LIMIT ?`;
    return this.#prepared(sql).all(...values, afterAgentId, limit).map(storedAgentOf);
  }

  #revisions({ module, digest }: Pick<AgentQuery, "module" | "digest">): { module: string; digest: string; agents: number }[] {
    const rows = this.#prepared(`SELECT * FROM live_agents WHERE agents > 0 AND ${REVISION}`).all(module, digest);
    return rows.map((row) => ({ module: text(row, "module"), digest: text(row, "digest"), agents: number(row, "agents") }));
  }

  count(query: AgentQuery): number {
    const { module, digest } = query;
    const narrowed = this.#narrowed(query);
    if (narrowed === null) return this.#revisions(query).reduce((sum, { agents }) => sum + agents, 0);
    const [only, values] = module === null && digest === null ? ["1", []] : [REVISION, [module, digest]];
    return number(this.#prepared(`SELECT count(*) AS n FROM ${narrowed.from} ${only}`).get(...narrowed.values, ...values) ?? {}, "n");
  }

  byDigest(module: string): Map<string, number> {
    return new Map(this.#revisions({ module, digest: null }).map(({ digest, agents }) => [digest, agents]));
  }
}

type AgentCalls = "putAgent" | "getAgent" | "listLiveAgents" | "countLiveAgents" | "listInitializing" | "countByDigest" | "listSessionAgents" | "claimAgent";

export function agentTable(db: DatabaseSync, writer: AgentWriter): Pick<SyncStore, AgentCalls> {
  const live = new LiveAgents(db);
  const get = db.prepare(`SELECT * FROM ${STORED_AGENTS} WHERE agent_id = ?`);
  const listOfSession = db.prepare(`SELECT * FROM ${STORED_AGENTS} WHERE session_id = ? ORDER BY created_at, agent_id`);
  const initializing = db.prepare("SELECT agent_id FROM agents INDEXED BY agents_initializing WHERE state = 'INITIALIZING' LIMIT ?");
  const claim = db.prepare("UPDATE agent_progress SET epoch = epoch + 1 WHERE agent_key = (SELECT agent_key FROM agents WHERE agent_id = ?) RETURNING epoch");

  return {
    putAgent(agent) {
      if (writer.find(agent.agentId) === null) writer.create(agent);
      else writer.replace(agent);
    },
    getAgent(agentId) {
      const row = get.get(agentId);
      return row === undefined ? null : storedAgentOf(row);
    },
    listLiveAgents: (query, afterAgentId, limit) => live.list(query, afterAgentId, limit),
    countLiveAgents: (query) => live.count(query),
    listInitializing: (limit) => initializing.all(limit).map((row) => text(row, "agent_id")),
    countByDigest: (module) => live.byDigest(module),
    listSessionAgents: (sessionId) => listOfSession.all(sessionId).map(storedAgentOf),
    claimAgent(agentId) {
      const row = claim.get(agentId);
      if (row === undefined) throw nobodyToClaim(agentId);
      return number(row, "epoch");
    },
  };
}
