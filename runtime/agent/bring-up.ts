/** A new agent's first instance, and its first word in the store. */
import { SirsiError } from "../core/errors.ts";
import type { Revision } from "../module/revision.ts";
import type { AgentRecord } from "../store/store.ts";
import type { AgentLedger } from "./agent-ledger.ts";
import { isDurable } from "./durability.ts";
import { NO_SIGNAL, type OpenedLife, openFresh } from "./life.ts";
import type { Surroundings } from "./surroundings.ts";

export interface Newcomer {
  readonly around: Surroundings;
  readonly revision: Revision;
  readonly record: AgentRecord;
  readonly ledger: AgentLedger;
  /** Throws when it was stopped while it came up. */
  requireNotEnded(): void;
}

/**
 * Instance and init, then one commit that creates the agent with its first state. The
 * record of one without durability, which is all that is kept of it, is written while it
 * comes up. Throws what went wrong; no instance is left then.
 */
export async function bringUp(agent: Newcomer, deadline: number): Promise<OpenedLife> {
  const record: AgentRecord = { ...agent.record, state: "READY" };
  return isDurable(agent.revision) ? await withCommit(agent, record, deadline) : await withRecord(agent, record, deadline);
}

async function withCommit(agent: Newcomer, record: AgentRecord, deadline: number): Promise<OpenedLife> {
  const { around, revision, ledger } = agent;
  const life = await openFresh(around, revision, agent.record, { deadline, stepId: "init", signal: NO_SIGNAL, state: "base", traceparent: "" });
  try {
    agent.requireNotEnded();
    if (life.state === null) throw new SirsiError("INTERNAL", "a durable agent's init ended and its state was not taken");
    await ledger.create(record, revision, life.state, life.effects);
    agent.requireNotEnded();
    return life;
  } catch (thrown) {
    life.handle.close();
    throw thrown;
  }
}

async function withRecord(agent: Newcomer, record: AgentRecord, deadline: number): Promise<OpenedLife> {
  const { around, revision } = agent;
  const put = around.store.putAgent(record);
  put.catch(() => undefined);
  let life: OpenedLife | null = null;
  try {
    life = await openFresh(around, revision, agent.record, { deadline, stepId: "init", signal: NO_SIGNAL, state: "none", traceparent: "" });
    await put;
    agent.requireNotEnded();
    return life;
  } catch (thrown) {
    life?.handle.close();
    await takeBack(around, put, record, SirsiError.from(thrown));
    throw thrown;
  }
}

async function takeBack({ store, log }: Surroundings, put: Promise<void>, record: AgentRecord, error: SirsiError): Promise<void> {
  try {
    await put;
    await store.putAgent({ ...record, state: "TERMINATED", statusMessage: `it did not come up: ${error.message}` });
  } catch (thrown) {
    if (SirsiError.from(thrown) === error) return;
    log.warn({ agentId: record.agentId, err: SirsiError.from(thrown).message }, "the record of an agent that did not come up could not be taken back");
  }
}
