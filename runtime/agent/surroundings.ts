/** What an agent needs of the host around it. One object serves all agents. */
import type { Capabilities } from "../capability/index.ts";
import type { Config } from "../config/index.ts";
import type { Clock } from "../core/clock.ts";
import type { SirsiError } from "../core/errors.ts";
import type { Revision } from "../module/revision.ts";
import type { CounterCell, HistogramCell, Logger, Metrics } from "../observe/index.ts";
import type { ShardPool } from "../sandbox/index.ts";
import type { AgentRecord, ExchangeRecord, Store, StoredOutboxEntry, TimerChange } from "../store/store.ts";
import type { PublishEvent } from "./agents.ts";
import type { Effect } from "./effects.ts";
import type { RestartConfig } from "./restart-policy.ts";

/** Where revisions come from. The module registry satisfies it. */
export interface RevisionSource {
  /** The revision that a new agent of `name` or `name@version` gets; throws SirsiError. */
  resolve(agentType: string): Revision;
  /** Any revision that an agent may still run on. */
  revisionByDigest(digest: string): Promise<Revision>;
  /** Counts users, so that a revision in use is never dropped. */
  retain(digest: string): void;
  release(digest: string): void;
  /** Why a revision was served and then not kept; empty for all others. */
  refusalOf?(digest: string): string;
}

export type AgentStore = Pick<Store, "putAgent" | "getAgent" | "getState" | "getWait" | "commit" | "listCommits" | "listExchanges" | "findExchange" | "listLiveAgents">;

/** Where committed messages and events go from here (D3). */
export interface Outbox {
  /** They are on disk now: in order, all of one commit. */
  committed(entries: readonly StoredOutboxEntry[]): void;
}

/** Who wakes agents for their timers. */
export interface TimerWatch {
  /** On disk now: what was set and cancelled, in order, and before that the timer whose firing the commit was; null for none. */
  changed(agentId: string, changes: readonly TimerChange[], fired: FiredTimer | null): void;
}

export interface FiredTimer {
  readonly timerId: string;
  readonly dueAt: number;
}

export interface SupervisedAgent {
  readonly id: string;
  readonly sessionId: string;
  readonly record: AgentRecord;
}

/** Who acts on an agent's fate beyond the agent itself. None of these is called while the agent cannot be looked up. */
export interface Supervision {
  /** A fault ended its instance and it goes on from its last commit; its siblings may have to as well. Not called for Agent.restart(). */
  restarted(agent: SupervisedAgent): void;
  /** Its restart policy does not start it again: it is to be stopped, for this reason. */
  finished(agent: SupervisedAgent, reason: string): void;
  /**
   * It has let go of everything, and this object is of no further use: it belongs to somebody
   * else by now (D5, AGENT_FENCED), or what the store has of it is to be read anew. More than once for one that was stopped.
   */
  fenced(agent: SupervisedAgent, error: SirsiError): void;
}

export interface ModuleCells {
  readonly stepSeconds: HistogramCell;
  readonly messageOk: HistogramCell;
  readonly messageRefused: HistogramCell;
  readonly messageError: HistogramCell;
  readonly fuel: CounterCell;
}

/** `Surroundings.cells` for a set of metrics. */
export function moduleCells(metrics: Metrics): (module: string) => ModuleCells {
  const known = new Map<string, ModuleCells>();
  return (module) => {
    let cells = known.get(module);
    if (cells === undefined) {
      metrics.knowModule(module);
      cells = {
        stepSeconds: metrics.histogram("sirsi_step_seconds", module),
        messageOk: metrics.histogram("sirsi_message_seconds", module, "ok"),
        messageRefused: metrics.histogram("sirsi_message_seconds", module, "refused"),
        messageError: metrics.histogram("sirsi_message_seconds", module, "error"),
        fuel: metrics.counter("sirsi_fuel_total", module),
      };
      known.set(module, cells);
    }
    return cells;
  };
}

export interface Surroundings {
  readonly clock: Clock;
  readonly random: () => number;
  readonly store: AgentStore;
  readonly pool: ShardPool;
  readonly revisions: RevisionSource;
  readonly capabilities: Capabilities;
  readonly publish: PublishEvent;
  readonly metrics: Metrics;
  /** The cells that every message of a module touches, looked up once. */
  readonly cells: (module: string) => ModuleCells;
  readonly log: Logger;
  readonly restart: RestartConfig;
  readonly exchangesKept: number;
  readonly idleAfterMs: number;
  readonly outbox: Outbox;
  readonly timers: TimerWatch;
  readonly supervision: Supervision;
  readonly durability: Config["durability"];
  /** The store has an exchange of the agent by now. Must not throw. */
  readonly onExchange?: (agentId: string, exchange: ExchangeRecord) => void;
  /** Lets a message go that an agent without durability emitted; the sender does not wait. */
  readonly deliver: (effect: Extract<Effect, { kind: "message" }>, from: { readonly agentId: string; readonly sessionId: string }) => void;
}
