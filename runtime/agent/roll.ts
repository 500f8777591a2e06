/**
 * Every agent of this host, resident, asleep or ended, as others may look at it. What is
 * in memory is told at once; the rest is read from the store, and nobody is woken for it.
 */
import { BoundedCache } from "../core/bounded-cache.ts";
import { SirsiError } from "../core/errors.ts";
import type { Manifest } from "../module/revision.ts";
import type { AgentQuery, AgentRecord, Store, StoredAgent } from "../store/store.ts";
import type { Agent } from "./agent.ts";
import type { AgentPage, AgentView } from "./agents.ts";
import type { Residency } from "./residency.ts";
import { sleepingView, unreachableView } from "./sleeping-view.ts";
import type { RevisionSource } from "./surroundings.ts";

export interface RollConfig {
  readonly store: Pick<Store, "getAgent" | "listLiveAgents">;
  readonly revisions: Pick<RevisionSource, "revisionByDigest">;
  readonly residency: Pick<Residency<Agent>, "peek">;
}

/** Ended agents whose last look is still answered from memory. */
const REMEMBERED_MAX = 1_000;

type Found = { readonly kind: "manifest"; readonly manifest: Manifest } | { readonly kind: "gone"; readonly reason: string };

export class Roll {
  readonly #config: RollConfig;
  readonly #ended = new BoundedCache<string, AgentView>(REMEMBERED_MAX);
  /** Agents that are being made: the store may not know them yet. In the order of their ids. */
  readonly #coming = new Map<string, Agent>();

  constructor(config: RollConfig) {
    this.#config = config;
  }

  begin(agent: Agent): void {
    this.#coming.set(agent.id, agent);
  }

  isComing(agentId: string): boolean {
    return this.#coming.has(agentId);
  }

  /** It is in the store, or it failed. */
  begun(agentId: string): void {
    this.#coming.delete(agentId);
  }

  end(view: AgentView): void {
    this.#ended.set(view.record.agentId, view);
  }

  find(agentId: string): AgentView | null | Promise<AgentView | null> {
    return this.#config.residency.peek(agentId)?.view() ?? this.#ended.get(agentId) ?? this.#read(agentId);
  }

  recordOf(agentId: string): AgentRecord | null | Promise<AgentRecord | null> {
    return (this.#config.residency.peek(agentId) ?? this.#ended.get(agentId))?.record ?? this.#readRecord(agentId);
  }

  async #readRecord(agentId: string): Promise<AgentRecord | null> {
    const stored = await this.#config.store.getAgent(agentId);
    return stored === null || isUnfinished(stored) ? null : stored.record;
  }

  async #read(agentId: string): Promise<AgentView | null> {
    const stored = await this.#config.store.getAgent(agentId);
    if (stored === null || isUnfinished(stored)) return null;
    // It may have come while the store was asked.
    return this.#config.residency.peek(agentId)?.view() ?? viewOfStored(stored, await this.#manifestOf(stored.record.digest));
  }

  /** Agents that have not ended, by id, which is the order of their spawns. */
  async list(query: AgentQuery, afterAgentId: string, limit: number): Promise<AgentPage> {
    const stored = await this.#config.store.listLiveAgents(query, afterAgentId, limit);
    const last = stored.length < limit ? null : (stored.at(-1)?.record.agentId ?? null);
    const manifests = new Map<string, Found>();
    for (const { record } of stored) if (!manifests.has(record.digest)) manifests.set(record.digest, await this.#manifestOf(record.digest));
    const views = stored.flatMap((one) => this.#viewNow(one, manifests));
    const known = new Set(views.map(({ record }) => record.agentId));
    for (const agent of this.#coming.values()) {
      const { id } = agent;
      if (id > afterAgentId && (last === null || id < last) && !known.has(id) && matches(agent.record, query)) views.push(agent.view());
    }
    views.sort((a, b) => (a.record.agentId < b.record.agentId ? -1 : 1));
    return { views, next: last };
  }

  #viewNow(stored: StoredAgent, manifests: ReadonlyMap<string, Found>): readonly AgentView[] {
    const { agentId, digest } = stored.record;
    const resident = this.#config.residency.peek(agentId)?.view();
    if (resident !== undefined) return resident.record.state === "TERMINATED" ? [] : [resident];
    if (isUnfinished(stored) || this.#ended.get(agentId) !== undefined) return [];
    return [viewOfStored(stored, manifests.get(digest) ?? { kind: "gone", reason: "it was not looked for" })];
  }

  async #manifestOf(digest: string): Promise<Found> {
    try {
      return { kind: "manifest", manifest: (await this.#config.revisions.revisionByDigest(digest)).manifest };
    } catch (thrown) {
      return { kind: "gone", reason: SirsiError.from(thrown).message };
    }
  }

  /** Why nothing can be done with an agent that is not there. */
  missing(agentId: string): SirsiError {
    const ended = this.#ended.get(agentId);
    return ended === undefined ? notFound(agentId) : hasEnded(ended.record);
  }

  /** Whether it is known, without a look into the store, that it has ended. */
  hasEnded(agentId: string): boolean {
    return this.#ended.get(agentId) !== undefined;
  }
}

/** A spawn that a crash cut off: nobody was ever told of it. */
export function isUnfinished({ record }: Pick<StoredAgent, "record">): boolean {
  return record.state === "INITIALIZING";
}

export function notFound(agentId: string): SirsiError {
  return new SirsiError("AGENT_NOT_FOUND", `no agent has the id ${agentId}; list the session's agents with \`sirsi agent list\``);
}

export function hasEnded({ agentId, statusMessage }: AgentRecord): SirsiError {
  return new SirsiError("AGENT_TERMINATED", `agent ${agentId} has ended${statusMessage === "" ? "" : ` (${statusMessage})`}; spawn a new agent`);
}

function viewOfStored(stored: StoredAgent, found: Found): AgentView {
  const view = found.kind === "manifest" ? sleepingView(stored, found.manifest) : unreachableView(stored, found.reason);
  return { ...view, newestExchange: stored.exchangeSequence };
}

function matches(record: AgentRecord, { sessionId, module, digest, parentAgentId }: AgentQuery): boolean {
  const fits = (wanted: string | null, value: string | null): boolean => wanted === null || wanted === value;
  return fits(sessionId, record.sessionId) && fits(module, record.module) && fits(digest, record.digest) && fits(parentAgentId, record.parentAgentId);
}
