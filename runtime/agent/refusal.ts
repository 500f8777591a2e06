/** Why work is not taken, or not begun, as the error its caller gets. */
import { SirsiError } from "../core/errors.ts";
import type { AgentPhase } from "./agent-state.ts";
import type { Mailbox } from "./mailbox.ts";
import { isResumable, type Work } from "./work.ts";

/** Null when an agent in this phase takes work. One that was set aside takes it and keeps it until it is released. */
export function refusalOf(agentId: string, phase: AgentPhase, mailbox: Pick<Mailbox<Work>, "full" | "size">): SirsiError | null {
  if (phase.kind === "terminated") return new SirsiError("AGENT_TERMINATED", `agent ${agentId} has ended (${phase.reason}); spawn a new agent`);
  if (phase.kind === "left") return new SirsiError("AGENT_FENCED", `agent ${agentId} is not here any more: it left memory, or has another owner; send again`, { retryAfterMs: 50 });
  if (!mailbox.full) return null;
  return new SirsiError("MAILBOX_FULL", `agent ${agentId} has ${mailbox.size} messages waiting, as many as its mailbox holds; send again later, and more slowly`, { retryAfterMs: 100 });
}

/** Its caller is gone or its time has passed while it waited: it never begins. Null when it may. */
export function tooLate(agentId: string, phase: AgentPhase, work: Work, now: number): SirsiError | null {
  if (work.signal?.aborted === true) return new SirsiError("CANCELLED", "the caller went away before the agent came to the message; it had no effect");
  // What waited when the host stopped has begun already: its guest is told of its deadline.
  if (now <= work.deadline || (isResumable(work) && work.wait !== null)) return null;
  if (phase.kind === "quarantined") {
    return new SirsiError("AGENT_QUARANTINED", `agent ${agentId} failed too often and was set aside: ${phase.reason}. The message waited for its release until its deadline and had no effect; mend the module, or release the agent`);
  }
  return new SirsiError("DEADLINE_EXCEEDED", "the deadline passed while the message waited in the agent's mailbox, without effect");
}
