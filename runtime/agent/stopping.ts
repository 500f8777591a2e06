/** How agents end for good, in memory or asleep. */
import { SirsiError } from "../core/errors.ts";
import type { AgentRecord } from "../store/store.ts";
import type { Agent } from "./agent.ts";
import type { Census } from "./census.ts";
import type { HouseGround } from "./house-ground.ts";
import type { Ownership } from "./ownership.ts";
import type { Residency } from "./residency.ts";
import { isUnfinished, type Roll } from "./roll.ts";
import { sleepingView } from "./sleeping-view.ts";
import { eventOf } from "./switchboard.ts";
import type { TopicHearers } from "./topic-hearers.ts";

export interface StoppingConfig {
  readonly ground: Pick<HouseGround, "clock" | "log" | "store" | "revisions" | "publish">;
  readonly census: Census;
  readonly residency: Residency<Agent>;
  readonly roll: Roll;
  readonly hearers: TopicHearers;
  /** Null: this host is the only one. */
  readonly ownership: Pick<Ownership, "acquire" | "uncount"> | null;
  readonly closed: () => boolean;
}

const FINISH_AGAIN_MS = 1_000;

export class Stopping {
  readonly #config: StoppingConfig;

  constructor(config: StoppingConfig) {
    this.#config = config;
  }

  /** Repeatable. AGENT_FENCED when another host has it. */
  async stop(agentId: string, reason: string): Promise<void> {
    const { residency } = this.#config;
    for (;;) {
      const agent = residency.get(agentId);
      if (agent !== null) {
        await this.#stopResident(agent, reason);
        return;
      }
      if ((await residency.asleep(agentId, () => this.#stopAsleep(agentId, reason))) !== null) return;
    }
  }

  async #stopResident(agent: Agent, reason: string): Promise<void> {
    const { census, hearers, residency, roll } = this.#config;
    hearers.drop(agent.id);
    // Whoever brings it up counts it.
    const counted = !roll.isComing(agent.id);
    await agent.stop(reason);
    if (residency.peek(agent.id) !== agent) return;
    residency.remove(agent.id);
    roll.end(agent.view());
    if (counted) census.left(agent.sessionId);
  }

  /** It has no instance that could be told. */
  async #stopAsleep(agentId: string, reason: string): Promise<void> {
    const { census, ground: { clock, publish, revisions, store }, hearers, ownership, roll } = this.#config;
    const acquired = (await ownership?.acquire(agentId)) ?? "owned";
    const stored = await store.getAgent(agentId);
    if (stored === null || stored.record.state === "TERMINATED") {
      if (acquired === "taken") ownership?.uncount();
      return;
    }
    const record: AgentRecord = { ...stored.record, state: "TERMINATED", statusMessage: reason, updatedAt: clock.now() };
    await store.putAgent(record);
    hearers.drop(agentId);
    census.left(record.sessionId);
    if (isUnfinished(stored)) return;
    const manifest = await revisions.revisionByDigest(record.digest).then(
      (revision) => revision.manifest,
      () => null,
    );
    if (manifest !== null) roll.end(sleepingView({ ...stored, record }, manifest));
    publish(eventOf("AGENT_STOPPED", { id: agentId, sessionId: record.sessionId }, { reason, module: record.module }));
  }

  /** It is not to be started again, also not when the host is. Never throws. */
  finish(agentId: string, reason: string): void {
    this.stop(agentId, reason).catch((thrown: unknown) => {
      const { closed, ground: { clock, log } } = this.#config;
      // Its owner by now goes on from before the fault.
      if (SirsiError.from(thrown).code === "AGENT_FENCED") return;
      log.warn({ agentId, err: SirsiError.from(thrown).message }, "the end of an agent that is not to be started again could not be noted; tried again in a second");
      clock.after(FINISH_AGAIN_MS, () => {
        if (!closed()) this.finish(agentId, reason);
      });
    });
  }
}
