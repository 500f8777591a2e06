/** An agent's move to another revision, seen from the agent: it is at rest, and stays so until the move is over. */
import { SirsiError } from "../core/errors.ts";
import type { Revision } from "../module/revision.ts";
import type { AgentRecord } from "../store/store.ts";
import type { AgentLedger } from "./agent-ledger.ts";
import type { InstanceSlot } from "./instance-slot.ts";
import type { Surroundings } from "./surroundings.ts";
import { type SwapCause, type SwapOutcome, swapLife } from "./swap.ts";

export interface Relocating {
  readonly around: Surroundings;
  readonly revision: Revision;
  readonly slot: InstanceSlot;
  readonly ledger: AgentLedger;
  noted(): AgentRecord;
  requireNotEnded(): void;
  /** Commits what is unsaved. */
  save(): Promise<void>;
  /** Goes on with the outcome's instance and record; throws when it was ended meanwhile. */
  settleOn(to: Revision, outcome: Extract<SwapOutcome, { kind: "moved" }>): void;
  /** Its instance is to be opened anew. */
  lost(): void;
  /** Lets go of everything: the store knows better what it is. */
  fenced(error: SirsiError): void;
}

export async function relocate(agent: Relocating, to: Revision, cause: SwapCause): Promise<SwapOutcome> {
  const { around, revision, slot, ledger } = agent;
  if (to.digest === revision.digest) return { kind: "kept", reason: "it is on that revision already" };
  try {
    await agent.save();
    const outcome = await swapLife({
      around,
      record: agent.noted(),
      from: revision,
      to,
      cause,
      openOld: () => slot.open(),
      commit: (record, base) => {
        agent.requireNotEnded();
        return ledger.commitSwap(record, to, base, cause);
      },
    });
    if (outcome.kind === "moved") agent.settleOn(to, outcome);
    else if (outcome.kind === "failed" && outcome.spoiled === true) agent.lost();
    // Nothing may be written of an agent whose revision is unknown: it comes back from the store.
    if (outcome.kind === "failed" && ledger.inDoubt) agent.fenced(unknownMove(agent.noted().agentId));
    return outcome;
  } catch (thrown) {
    agent.lost();
    return { kind: "failed", reason: SirsiError.from(thrown).message };
  }
}

function unknownMove(agentId: string): SirsiError {
  return new SirsiError("STORE_UNAVAILABLE", `agent ${agentId} was moving to another revision when the store stopped answering; send again, it goes on from what the store has`, { retryAfterMs: 500 });
}
