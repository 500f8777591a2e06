/**
 * Whom a restart takes along. Agents of one parent are siblings, in the order of their
 * ids, which is that of their spawns; the manifest of the parent's revision says which of
 * them share a fate. `rest_for_one`: those that were spawned after the one that failed.
 *
 * An agent that sleeps lies at its last commit already, which is where a restart puts it:
 * only residents are told.
 */
import { SirsiError } from "../core/errors.ts";
import type { SupervisionStrategy } from "../module/revision.ts";
import type { Logger } from "../observe/index.ts";
import type { Store } from "../store/store.ts";
import type { SupervisedAgent } from "./surroundings.ts";

export interface SupervisionTreeConfig {
  readonly store: Pick<Store, "listLiveAgents">;
  /** What an agent's manifest says of its children; null when there is no such agent. */
  readonly strategyOf: (agentId: string) => Promise<SupervisionStrategy | null>;
  /** The agent when it is in memory. */
  readonly resident: (agentId: string) => { restart(reason: string): Promise<void> } | null;
  /** For those that are not in memory here, and may be on other hosts; nobody waits for it. */
  readonly restartElsewhere?: ((agentIds: readonly string[], reason: string) => void) | undefined;
  readonly log: Logger;
}

const PAGE = 500;

export class SupervisionTree {
  readonly #config: SupervisionTreeConfig;
  /** Agents whose siblings are being told: a second fault meanwhile finds them told. */
  readonly #underWay = new Set<string>();

  constructor(config: SupervisionTreeConfig) {
    this.#config = config;
  }

  /** Resolves when those that share its fate were told. Never rejects. */
  async restarted({ id, record }: Pick<SupervisedAgent, "id" | "record">): Promise<void> {
    const { parentAgentId } = record;
    if (parentAgentId === null || this.#underWay.has(id)) return;
    this.#underWay.add(id);
    try {
      if ((await this.#config.strategyOf(parentAgentId)) === "rest_for_one") await this.#restartAfter(parentAgentId, id);
    } catch (thrown) {
      this.#config.log.warn({ agentId: id, parentAgentId, err: SirsiError.from(thrown).message }, "the siblings of an agent that failed could not be found, and go on as they are");
    } finally {
      this.#underWay.delete(id);
    }
  }

  async #restartAfter(parentAgentId: string, failed: string): Promise<void> {
    for (let after = failed; ; ) {
      const page = await this.#config.store.listLiveAgents({ sessionId: null, module: null, digest: null, parentAgentId }, after, PAGE);
      this.#restartAll(page.map(({ record }) => record.agentId), failed);
      const last = page.at(-1);
      if (last === undefined || page.length < PAGE) return;
      after = last.record.agentId;
    }
  }

  #restartAll(agentIds: readonly string[], failed: string): void {
    const reason = `agent ${failed}, which was spawned before it by the same parent, failed (supervision: rest_for_one)`;
    const elsewhere = agentIds.filter((agentId) => !this.#restart(agentId, failed, reason));
    if (elsewhere.length > 0) this.#config.restartElsewhere?.(elsewhere, reason);
  }

  /** At a quiet moment of its own, which nobody waits for. False when it is not in memory. */
  #restart(agentId: string, failed: string, reason: string): boolean {
    const { log, resident } = this.#config;
    const agent = resident(agentId);
    agent
      ?.restart(reason)
      .catch((thrown: unknown) => log.warn({ agentId, failed, err: SirsiError.from(thrown).message }, "an agent that shares the fate of another could not be restarted, and goes on as it is"));
    return agent !== null;
  }
}
