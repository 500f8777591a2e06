/**
 * What a fleet is to the agents of one of its hosts. A house without one is the only owner
 * of what its store has, and none of this is asked.
 *
 * How an agent comes and goes between hosts
 *
 *   (owned elsewhere, or by nobody) ─acquire─▶ own ─given─▶ (owned elsewhere)
 *                                               └─buried─▶ (owned by nobody)
 *
 * Invariants
 * - F1 An agent comes to memory only after `acquire` made it this host's, and before
 *   anything of it is read: the epoch that is read then is its own.
 * - F2 An agent that was given away, or whose host was buried, leaves memory without a
 *   write; what its steps had not committed never was (D5).
 * - F3 Nothing of an agent that is not this host's is held or begun here: no outbox entry, no
 *   timer, no topic. What an agent that came had in the store goes before what it does here.
 * - F4 Whoever addresses an agent that is elsewhere is told so by one error
 *   (`ownedElsewhere`), or is passed on; never that it does not exist.
 */
import type { Message } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { SirsiError } from "../core/errors.ts";
import type { Acquisition } from "../store/fleet-store.ts";
import type { StoredOutboxEntry } from "../store/store.ts";
import type { Delivery, Reply } from "./agents.ts";

/** Agents wherever they are, this host included: the owner is looked up anew when one has moved meanwhile. */
export interface RemoteAgents {
  /** To an agent of this session. Tried again for as long as the delivery's deadline allows. AGENT_NOT_FOUND. */
  send(agentId: string, sessionId: string, delivery: Delivery): Promise<Reply>;
  /** One attempt: the courier tries again. "taken": the receiver's commit took the entry from the store. */
  deliverEntry(entry: StoredOutboxEntry, message: Message): Promise<"taken" | "kept">;
  /** Those of them that other hosts have in memory go back to their last commit (supervision); nobody waits for it. */
  restart?(agentIds: readonly string[], reason: string): void;
}

/** Told once for each coming and each going, in turn. Must not throw. */
export interface Presence {
  /** It is in memory and takes messages. */
  came(agentId: string, sessionId: string): void;
  /** No more: it left memory, ended, or belongs to somebody else. */
  left(agentId: string): void;
}

export interface HouseFleet {
  /** Makes an agent this host's when it is an orphan; says whose it is otherwise. */
  acquire(agentId: string): Promise<Acquisition>;
  /** Another host had it a moment ago, as far as is known without asking: spares `acquire`. A wrong answer is mended by `remote`. */
  knownElsewhere?(agentId: string): boolean;
  readonly remote: RemoteAgents;
  /** Agents that this host owns and that have not ended. */
  countOwned(): Promise<number>;
  /** Whether the store has outbox entries or timers of an agent that was given away; absent: as far as this host happens to know. */
  hasEffects?(agentId: string): Promise<boolean>;
  readonly onPresence?: Presence;
}

export type HandOver =
  | {
      readonly kind: "moved";
      /** A step that waits, messages that were refused, outbox entries or timers: its new owner has it go on at once. */
      readonly hadWork: boolean;
      /** Its level is `none`: it begins afresh elsewhere. */
      readonly stateless: boolean;
      /** From the moment when it took no more steps to the end of `give`. */
      readonly pauseMs: number;
    }
  | { readonly kind: "stayed"; readonly reason: string };

/** What another host brought for an agent of this one. */
export interface Received {
  readonly reply: Reply;
  /** Its commit took the outbox entry that the message came from. */
  readonly taken: boolean;
}

export interface TakenOver {
  /** Agents that are this host's now and were not before. */
  readonly acquired: number;
  /** Of these, those in a wait that go on. */
  readonly resumed: number;
}

/** Another host has the agent. */
export function ownedElsewhere(agentId: string, hostId: string): SirsiError {
  return new SirsiError("AGENT_FENCED", `agent ${agentId} belongs to host ${hostId}; send again, to that host`, { retryAfterMs: 50, metadata: { owner: hostId } });
}

/** The host that has the agent, by an error of `ownedElsewhere`; null for any other. */
export function ownerIn({ code, details }: SirsiError): string | null {
  return code === "AGENT_FENCED" ? (details.metadata?.["owner"] ?? null) : null;
}
