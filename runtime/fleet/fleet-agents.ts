/**
 * All agents of a fleet, as the layers above see them: those of this host through its own
 * house, the others' through their hosts. Any host so answers any client.
 */
import { withLook } from "./agent-look.ts";
import { BoundedCache } from "../core/bounded-cache.ts";
import type { Clock } from "../core/clock.ts";
import { SirsiError } from "../core/errors.ts";
import { newId } from "../core/ids.ts";
import type { AgentChanges, AgentPage, Agents, AgentView, Delivery, Reply, SpawnSpec } from "../agent/agents.ts";
import { type Message, Priority, type Suggestion, type SuggestionContext } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import type { AgentRecord, StoredOutboxEntry } from "../store/store.ts";
import type { Fleet } from "./fleet.ts";
import type { ControlledAgents } from "./host-control.ts";
import type { Owners } from "./owners.ts";
import { type Wants, ranked } from "./placement.ts";
import type { RemoteCalls } from "./remote-calls.ts";
import type { Routing } from "./routing.ts";

/** What a fleet needs of the host's own house of agents. */
export interface LocalAgents extends Agents {
  /** It is in memory. */
  has(agentId: string): boolean;
  release(agentId: string): Promise<void>;
  adopt(sessionId: string, put: () => Promise<string>): Promise<string>;
}

export interface FleetAgentsConfig {
  readonly clock: Clock;
  readonly fleet: Fleet;
  readonly owners: Owners;
  readonly routing: Routing;
  readonly remote: RemoteCalls;
  readonly house: LocalAgents & Pick<ControlledAgents, "sendEntry">;
  /** What agents of a type ask of their host; AGENT_TYPE_NOT_FOUND. */
  readonly wantsOfType: (agentType: string) => Wants;
}

/** Records of agents elsewhere, which change seldom: metadata and settings. */
const RECORDS_KEPT = 16_384;
const RECORD_FRESH_MS = 2_000;
/** Hosts that a spawn is tried on. */
const SPAWN_TRIES = 3;

interface KeptRecord {
  readonly record: AgentRecord;
  readonly readAt: number;
}

export class FleetAgents implements LocalAgents {
  readonly #config: FleetAgentsConfig;
  readonly #records = new BoundedCache<string, KeptRecord>(RECORDS_KEPT);

  constructor(config: FleetAgentsConfig) {
    this.#config = config;
  }

  get count(): number {
    return this.#config.house.count;
  }

  countOf(sessionId: string): number | Promise<number> {
    return this.#config.house.countOf(sessionId);
  }

  has(agentId: string): boolean {
    return this.#config.house.has(agentId);
  }

  // --- coming and going ------------------------------------------------------------------

  /** Where placement wants it; on the next best host when that one is gone or full. */
  async spawn(spec: SpawnSpec): Promise<AgentView> {
    const { clock, fleet, house, owners, remote, routing, wantsOfType } = this.#config;
    const agentId = spec.agentId ?? newId(clock.now());
    const choices = ranked(agentId, fleet.hosts, wantsOfType(spec.agentType)).slice(0, SPAWN_TRIES);
    for (const [at, { hostId }] of choices.entries()) {
      try {
        routing.requireHeld();
        if (hostId === fleet.self.hostId) return await house.spawn({ ...spec, agentId });
        await remote.spawn(hostId, agentId, spec);
        owners.learn(agentId, hostId);
        return (await this.find(agentId)) ?? missingAfterSpawn(agentId);
      } catch (thrown) {
        if (at === choices.length - 1 || !elsewhereMay(SirsiError.from(thrown))) throw thrown;
      }
    }
    routing.requireHeld();
    // Nobody takes agents: not even this host, so its own words are the best answer.
    return await house.spawn({ ...spec, agentId });
  }

  async stop(agentId: string, reason: string): Promise<void> {
    const { house, remote, routing } = this.#config;
    await routing.to(agentId, null, { here: () => house.stop(agentId, reason), there: (hostId) => remote.stop(hostId, agentId, reason) });
    this.#records.delete(agentId);
  }

  async adopt(sessionId: string, put: () => Promise<string>): Promise<string> {
    this.#config.routing.requireHeld();
    return await this.#config.house.adopt(sessionId, put);
  }

  async release(agentId: string): Promise<void> {
    const { house, remote, routing } = this.#config;
    await routing.to(agentId, null, { here: () => house.release(agentId), there: (hostId) => remote.release(hostId, agentId) });
  }

  // --- looking ---------------------------------------------------------------------------

  find(agentId: string): AgentView | null | Promise<AgentView | null> {
    return this.has(agentId) ? this.#config.house.find(agentId) : this.#findElsewhere(agentId);
  }

  /** As the store has it, with what only its host knows. */
  async #findElsewhere(agentId: string): Promise<AgentView | null> {
    const { fleet, house, owners, remote } = this.#config;
    const [view, owner] = await Promise.all([house.find(agentId), owners.known(agentId) ?? owners.lookUp(agentId)]);
    if (view === null || owner === null || owner === fleet.self.hostId || view.record.state === "TERMINATED") return view;
    const look = await remote.look(owner, agentId);
    return look === null ? view : withLook(view, look);
  }

  recordOf(agentId: string): AgentRecord | null | Promise<AgentRecord | null> {
    const { clock, house } = this.#config;
    if (this.has(agentId)) return house.recordOf(agentId);
    const kept = this.#records.get(agentId);
    if (kept !== undefined && clock.monotonic() - kept.readAt < RECORD_FRESH_MS) return kept.record;
    return this.#readRecord(agentId);
  }

  async #readRecord(agentId: string): Promise<AgentRecord | null> {
    const { clock, house } = this.#config;
    const readAt = clock.monotonic();
    const record = await house.recordOf(agentId);
    if (record !== null) this.#records.set(agentId, { record, readAt });
    return record;
  }

  list(sessionId: string, afterAgentId: string, limit: number): Promise<AgentPage> {
    return this.#config.house.list(sessionId, afterAgentId, limit);
  }

  async exchanges(agentId: string, beforeSequence: number, limit: number): Promise<readonly { readonly sequence: number; readonly body: Uint8Array }[]> {
    const { fleet, house, remote, routing } = this.#config;
    const view = await this.find(agentId);
    // The store has those of agents that commit; of the others their host alone.
    if (view === null || view.manifest.durability !== "none" || this.has(agentId)) return await house.exchanges(agentId, beforeSequence, limit);
    const hostId = await routing.hostOf(agentId);
    if (hostId === fleet.self.hostId) return await house.exchanges(agentId, beforeSequence, limit);
    return await remote.exchanges(hostId, agentId, beforeSequence, limit);
  }

  // --- work --------------------------------------------------------------------------------

  async send(agentId: string, delivery: Delivery): Promise<Reply> {
    return await this.deliver(agentId, "", delivery);
  }

  /** `sessionId`: the agent must be of it; empty for any. */
  async deliver(agentId: string, sessionId: string, delivery: Delivery): Promise<Reply> {
    const { house, remote, routing } = this.#config;
    return await routing.to<Reply>(agentId, delivery.deadline, {
      here: async () => (sessionId === "" ? await house.send(agentId, delivery) : (await house.sendEntry(agentId, sessionId, delivery)).reply),
      there: (hostId) => remote.deliver(hostId, agentId, sessionId, delivery, delivery.askedBy ?? []),
    });
  }

  /** An outbox entry; one attempt. "taken": the receiver's commit took it from its sender's outbox. */
  async deliverEntry(entry: StoredOutboxEntry, message: Message): Promise<"taken" | "kept"> {
    const { remote, routing } = this.#config;
    const { target, sessionId, key } = entry;
    routing.requireHeld();
    const hostId = await routing.hostOf(target);
    const delivery: Delivery = { message, context: {}, priority: Priority.NORMAL, sourceAgentId: key.agentId, deadline: null, signal: null, traceparent: "", onPartial: null, outboxKey: key, deadLetterId: null };
    try {
      const { taken } = await remote.deliver(hostId, target, sessionId, delivery, []);
      return taken ? "taken" : "kept";
    } catch (thrown) {
      // The next attempt must not go where this one was refused.
      routing.relearn(target, SirsiError.from(thrown));
      throw thrown;
    }
  }

  async suggest(agentId: string, context: SuggestionContext, max: number, deadline: number | null, signal: AbortSignal | null): Promise<readonly Suggestion[]> {
    const { house, remote, routing } = this.#config;
    return await routing.to<readonly Suggestion[]>(agentId, deadline, {
      here: () => house.suggest(agentId, context, max, deadline, signal),
      there: (hostId) => remote.suggest(hostId, agentId, context, max, deadline, signal),
    });
  }

  async update(agentId: string, changes: AgentChanges): Promise<AgentView> {
    const { house, remote, routing } = this.#config;
    const here = await routing.to<AgentView | null>(agentId, null, {
      here: () => house.update(agentId, changes),
      there: async (hostId) => {
        await remote.update(hostId, agentId, changes);
        return null;
      },
    });
    this.#records.delete(agentId);
    const view = here ?? (await this.find(agentId));
    if (view === null) throw new SirsiError("AGENT_NOT_FOUND", `agent ${agentId} was removed while it was changed; list the agents of its session`);
    return view;
  }
}

/** Another host may do what this one could not. */
function elsewhereMay({ code }: SirsiError): boolean {
  return code === "AGENT_FENCED" || code === "SHUTTING_DOWN" || code === "OVERLOADED" || code === "AGENT_LIMIT_REACHED" || code === "AGENT_TYPE_NOT_FOUND" || code === "SHARD_LOST";
}

function missingAfterSpawn(agentId: string): never {
  throw new SirsiError("AGENT_FENCED", `agent ${agentId} was made, and its host was lost right after; spawn another`, { retryAfterMs: 250 });
}
