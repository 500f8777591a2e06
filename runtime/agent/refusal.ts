/** Why work is not taken, or not begun, as the error its caller gets. */
import { SirsiError } from "../core/errors.ts";
import type { AgentPhase } from "./agent-state.ts";
import type { Mailbox } from "./mailbox.ts";
import type { Work } from "./work.ts";

/** Null when an agent in this phase takes work. */
export function refusalOf(agentId: string, phase: AgentPhase, mailbox: Pick<Mailbox<Work>, "full" | "size">): SirsiError | null {
  switch (phase.kind) {
    case "terminated":
      return new SirsiError("AGENT_TERMINATED", `agent ${agentId} has ended (${phase.reason}); spawn a new agent`);
    case "quarantined":
      return new SirsiError("AGENT_QUARANTINED", `agent ${agentId} failed too often and was set aside: ${phase.reason}. Mend the module, or delete the agent and spawn it anew`);
    default:
  }
  if (!mailbox.full) return null;
  return new SirsiError("MAILBOX_FULL", `agent ${agentId} has ${mailbox.size} messages waiting, as many as its mailbox holds; send again later, and more slowly`, { retryAfterMs: 100 });
}

/** Its caller is gone or its time has passed while it waited: it never begins. Null when it may. */
export function tooLate(work: Work, now: number): SirsiError | null {
  if (work.signal?.aborted === true) return new SirsiError("CANCELLED", "the caller went away before the agent came to the message; it had no effect");
  if (now <= work.deadline) return null;
  return new SirsiError("DEADLINE_EXCEEDED", "the deadline passed while the message waited in the agent's mailbox, without effect");
}
