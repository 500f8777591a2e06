/** How an agent's instance comes back from its last commit. */
import { SirsiError } from "../core/errors.ts";
import type { StateChain } from "../store/store.ts";
import type { AgentLedger } from "./agent-ledger.ts";
import { isDurable } from "./durability.ts";
import type { FoundWait, InstanceSource } from "./instance-slot.ts";
import { droppedEmits, NO_SIGNAL, type OpenedLife, openFresh, openFrom } from "./life.ts";
import type { Stepper } from "./run-step.ts";

export function instanceSource(agent: Pick<Stepper, "around" | "revision" | "record"> & { readonly ledger: Pick<AgentLedger, "recall" | "commitFirst"> }): InstanceSource {
  /** For one without durability; or whose module had none until now, and then this is its first state. */
  const fresh = async (): Promise<OpenedLife> => {
    const { around, revision, record, ledger } = agent;
    const deadline = around.clock.monotonic() + revision.limits.stepTimeoutMs;
    const life = await openFresh(around, revision, record, { deadline, stepId: "init", signal: NO_SIGNAL, state: isDurable(revision) ? "base" : "none", traceparent: "" });
    // It had its effects when the agent was made.
    droppedEmits(around, record, "an init after a restart")(life.effects.emits);
    if (life.state !== null) await ledger.commitFirst(revision, life.state);
    return life;
  };
  return {
    async atRest() {
      const { around, revision, record, ledger } = agent;
      const chain = isDurable(revision) ? await ledger.recall() : null;
      if (chain === null) return await fresh();
      requireSameRevision(record.agentId, chain, revision.digest);
      return await openFrom(around, revision, record, [chain.base, ...chain.differences]);
    },

    async inWait(): Promise<FoundWait> {
      const { around, revision, record, ledger } = agent;
      const chain = await ledger.recall();
      if (chain === null || chain.wait === null) return { kind: "rolled_back", reason: "the store has no wait of it any more" };
      requireSameRevision(record.agentId, chain, revision.digest);
      if (chain.wait.preparation !== revision.preparation) {
        return { kind: "rolled_back", reason: `its stack was unwound under the preparation ${chain.wait.preparation}, and this host has ${revision.preparation}` };
      }
      try {
        const life = await openFrom(around, revision, record, [chain.base, ...chain.differences, chain.wait.image]);
        if (life.suspended) return { kind: "open", life };
        life.handle.close();
        return { kind: "rolled_back", reason: "its stored wait holds no suspended stack" };
      } catch (thrown) {
        const error = SirsiError.from(thrown);
        // The wait alone may be damaged: nothing that anybody was answered for is in it.
        if (error.code === "STORE_CORRUPT") return { kind: "rolled_back", reason: error.message };
        throw error;
      }
    },
  };
}

function requireSameRevision(agentId: string, chain: StateChain, digest: string): void {
  if (chain.digest === digest) return;
  throw new SirsiError("STORE_CORRUPT", `the state of agent ${agentId} is of revision ${chain.digest.slice(0, 12)}, and its record says ${digest.slice(0, 12)}; restore the data directory from a backup, or delete the agent`);
}
