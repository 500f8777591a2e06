/**
 * An agent's end for good: what waits is refused at once, the step in hand has a short
 * grace, the guest is told, and the store notes it. An end that could not be noted is noted
 * by the next try.
 */
import { SirsiError } from "../core/errors.ts";
import type { Revision } from "../module/revision.ts";
import type { AgentRecord } from "../store/store.ts";
import type { AgentLedger } from "./agent-ledger.ts";
import { type AgentPhase, type AgentPhaseEvent, phaseReason } from "./agent-state.ts";
import { settledWithin } from "./grace.ts";
import type { InstanceSlot } from "./instance-slot.ts";
import { tellShutdown } from "./life.ts";
import type { Surroundings } from "./surroundings.ts";
import type { Work } from "./work.ts";

/** How long the step in hand may go on. */
const STOP_GRACE_MS = 2_000;

export interface Mortal {
  readonly around: Surroundings;
  readonly slot: InstanceSlot;
  readonly ledger: Pick<AgentLedger, "put">;
  readonly revision: Revision;
  readonly record: AgentRecord;
  readonly phase: AgentPhase;
  readonly current: Work | null;
  noted(): AgentRecord;
  move(event: AgentPhaseEvent): void;
  refusal(): SirsiError | null;
  /** Refuses all that waits. */
  abandon(refusal: SirsiError): void;
  /** Lets go of the step in hand, which goes on for nobody. */
  giveUpCurrent(error: SirsiError): void;
  publish(type: string, attributes: Readonly<Record<string, string>>): void;
}

export class Ending {
  readonly #agent: Mortal;
  #ending: Promise<void> | null = null;
  #noted = false;

  constructor(agent: Mortal) {
    this.#agent = agent;
  }

  async stop(reason: string): Promise<void> {
    const agent = this.#agent;
    this.#ending ??= this.#end(reason);
    await this.#ending;
    if (this.#noted) return;
    await agent.ledger.put(agent.noted());
    if (this.#noted) return;
    this.#noted = true;
    agent.publish("AGENT_STOPPED", { reason: phaseReason(agent.phase), module: agent.record.module });
  }

  async #end(reason: string): Promise<void> {
    const agent = this.#agent;
    const { around, current, slot } = agent;
    agent.move({ kind: "stopped", reason });
    const refusal = agent.refusal() ?? new SirsiError("AGENT_TERMINATED", reason);
    agent.abandon(refusal);
    const inOrder = current === null || (await settledWithin(around.clock, STOP_GRACE_MS, current.reply.promise, () => agent.giveUpCurrent(refusal)));
    if (slot.live !== null && inOrder) await tellShutdown(around, slot.live, agent.revision, agent.record, reason);
    slot.drop();
    around.revisions.release(agent.revision.digest);
  }
}
