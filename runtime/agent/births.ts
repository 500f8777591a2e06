/** How new agents come to be here: spawned, or put into the store by somebody else and taken in. G1. */
import { newId } from "../core/ids.ts";
import type { Revision } from "../module/revision.ts";
import type { AgentRecord } from "../store/store.ts";
import { Agent } from "./agent.ts";
import type { AgentView, SpawnSpec } from "./agents.ts";
import type { Attendance } from "./attendance.ts";
import type { Census } from "./census.ts";
import type { Residency } from "./residency.ts";
import type { Roll } from "./roll.ts";
import type { Surroundings } from "./surroundings.ts";
import { eventOf } from "./switchboard.ts";

export interface BirthsConfig {
  readonly around: Surroundings;
  readonly census: Census;
  readonly residency: Residency<Agent>;
  readonly roll: Roll;
  readonly attendance: Attendance;
  readonly activate: (agentId: string) => Promise<Agent>;
  /** It hears the topics of its revision from now on. */
  readonly listen: (agent: Agent) => void;
}

const DEFAULT_SPAWN_MS = 30_000;

export class Births {
  readonly #config: BirthsConfig;

  constructor(config: BirthsConfig) {
    this.#config = config;
  }

  async spawn(spec: SpawnSpec): Promise<AgentView> {
    const { census } = this.#config;
    census.enter(spec.sessionId);
    let made = false;
    try {
      const agent = await this.#bringUp(spec);
      // It may have been stopped, or taken away, as it came up.
      made = isHere(agent);
      return agent.view();
    } finally {
      census.entered(spec.sessionId, made);
    }
  }

  async #bringUp(spec: SpawnSpec): Promise<Agent> {
    const { around, attendance, listen, residency, roll } = this.#config;
    const { clock, metrics, revisions } = around;
    const started = clock.monotonic();
    const revision = revisions.resolve(spec.agentType);
    const record = newRecord(spec, revision, clock.now());
    const agent = new Agent(around, record, revision, null);
    residency.add(agent);
    roll.begin(agent);
    try {
      await agent.begin(spec.deadline ?? started + DEFAULT_SPAWN_MS);
    } catch (thrown) {
      residency.remove(agent.id);
      // Else it has let go of it already.
      if (isHere(agent)) revisions.release(revision.digest);
      throw thrown;
    } finally {
      roll.begun(agent.id);
    }
    listen(agent);
    if (isHere(agent)) attendance.came(agent);
    residency.release(agent.id);
    metrics.histogram("sirsi_spawn_seconds", record.module).observe((clock.monotonic() - started) / 1000);
    around.publish(eventOf("AGENT_SPAWNED", agent, { module: record.module, version: revision.manifest.version, digest: record.digest }));
    return agent;
  }

  /** Takes in an agent that `put` puts into the store; it counts from now on. AGENT_LIMIT_REACHED. */
  async adopt(sessionId: string, put: () => Promise<string>): Promise<string> {
    const { activate, census, listen } = this.#config;
    census.enter(sessionId);
    let made = false;
    try {
      const agentId = await put();
      made = true;
      listen(await activate(agentId));
      return agentId;
    } finally {
      census.entered(sessionId, made);
    }
  }
}

function isHere({ phase }: Agent): boolean {
  return phase.kind !== "terminated" && phase.kind !== "left";
}

function newRecord(spec: SpawnSpec, revision: Revision, now: number): AgentRecord {
  return {
    agentId: spec.agentId ?? newId(now),
    sessionId: spec.sessionId,
    module: revision.manifest.name,
    digest: revision.digest,
    state: "INITIALIZING",
    parentAgentId: spec.parentAgentId,
    createdAt: now,
    updatedAt: now,
    metadata: spec.metadata,
    config: spec.config,
    context: spec.context,
    statusMessage: "",
  };
}
