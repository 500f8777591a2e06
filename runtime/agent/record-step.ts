/** How a step that ended well is recorded, by its agent's level (durability.ts). */
import { SirsiError } from "../core/errors.ts";
import type { Revision } from "../module/revision.ts";
import { lostError } from "../sandbox/index.ts";
import type { AgentCommit, ExchangeRecord } from "../store/store.ts";
import { type AgentLedger, changesOf, type CommitDraft } from "./agent-ledger.ts";
import { type Conversation, exchangeBody, messageHash } from "./conversation.ts";
import { commitsSteps, isDurable } from "./durability.ts";
import type { InstanceSlot } from "./instance-slot.ts";
import type { Completed } from "./run-work.ts";
import { causeIdOf, type MessageWork, type Work } from "./work.ts";

export interface Recorder {
  readonly slot: InstanceSlot;
  readonly ledger: AgentLedger;
  readonly conversation: Conversation;
  readonly revision: Revision;
}

/** A2: what this returns is waited for before anything shows. Null when nothing has to reach the store first. */
export function recordStep(recorder: Recorder, completed: Completed, tookMs: number, now: number): Promise<void> | null {
  const { ledger, revision } = recorder;
  const { work, answer } = completed;
  if (!isDurable(revision)) {
    ledger.count(work.kind === "message", answer.refusal !== null, tookMs, now);
    if (work.kind === "message") keepHere(recorder, completed, work, now);
    return null;
  }
  const before = ledger.counters;
  ledger.count(work.kind === "message", answer.refusal !== null, tookMs, now);
  const written = commitsSteps(revision) ? commitNow(recorder, completed, now) : commitLater(recorder, completed, now);
  return written === null ? null : written.catch((thrown: unknown) => {
    ledger.uncount(before);
    throw thrown;
  });
}

function keepHere({ conversation }: Recorder, { call, end }: Completed, work: MessageWork, now: number): void {
  conversation.sequence++;
  conversation.settleKept(work.delivery.message.messageId, call, end.result, now);
}

async function commitNow(recorder: Recorder, completed: Completed, now: number): Promise<void> {
  const { ledger, conversation, revision } = recorder;
  const { work, end } = completed;
  const draft = draftOf(recorder, completed, now);
  if (end.state === null) throw new SirsiError("INTERNAL", "a durable agent's step ended and its state was not taken");
  const { kind, image } = end.state;
  await ledger.commit({ ...draft, state: { kind, digest: revision.digest, preparation: revision.preparation, image } });
  if (work.kind === "message") conversation.settleStored(work.delivery.message.messageId);
}

/** Level `interval`: what others are told of is committed first, all else when time is up. */
function commitLater(recorder: Recorder, completed: Completed, now: number): Promise<void> | null {
  const { ledger } = recorder;
  const { work, effects } = completed;
  const draft = draftOf(recorder, completed, now);
  const atOnce = effects.size > 0 || work.kind === "timer" || (work.kind === "message" && (work.delivery.outboxKey !== null || work.delivery.deadLetterId !== null));
  if (atOnce) return saveState(recorder, draft).then(() => (work.kind === "message" ? keepStored(recorder, completed, work, now) : undefined));
  ledger.defer(draft.exchange ?? null);
  if (work.kind === "message") keepHere(recorder, completed, work, now);
  return null;
}

/** Its sequence was counted by the commit. */
function keepStored({ conversation }: Recorder, { call, end }: Completed, work: MessageWork, now: number): void {
  conversation.settleKept(work.delivery.message.messageId, call, end.result, now);
}

/** Commits what an agent of level `interval` has deferred, and `draft`, with its state as it is. */
export async function saveState({ slot, ledger, revision }: Pick<Recorder, "slot" | "ledger" | "revision">, draft: CommitDraft | null): Promise<void> {
  const handle = slot.live;
  if (handle === null) throw new SirsiError("SHARD_LOST", "the agent's instance is gone, and with it what was not yet committed; send again", { retryAfterMs: 100 });
  const taken = await handle.takeState();
  if (taken.kind === "failed") throw SirsiError.revive(taken.error);
  if (taken.kind === "lost") throw lostError(taken);
  await ledger.save(revision, taken.image, draft);
}

function draftOf({ conversation }: Recorder, { work, answer, effects }: Completed, now: number): CommitDraft {
  return {
    cause: causeOf(work),
    causeId: causeIdOf(work),
    exchange: work.kind === "message" && answer.exchange !== null ? exchangeOf(work, answer.exchange, conversation.sequence + 1, now) : null,
    firedTimer: work.kind === "timer" ? { timerId: work.timerId, dueAt: work.dueAt } : null,
    ...takenBy(work),
    ...changesOf(effects, now),
  };
}

function exchangeOf({ delivery }: MessageWork, end: NonNullable<Completed["answer"]["exchange"]>, sequence: number, now: number): ExchangeRecord {
  const { message } = delivery;
  return { sequence, messageId: message.messageId, messageHash: messageHash(message), body: exchangeBody(sequence, message, end, now), completedAt: now };
}

/** Entries of others that the commit of this work takes away. */
export function takenBy(work: Work): Pick<AgentCommit, "consumed" | "consumedDeadLetter"> {
  return work.kind === "message" ? { consumed: work.delivery.outboxKey, consumedDeadLetter: work.delivery.deadLetterId } : NOTHING_TAKEN;
}

const NOTHING_TAKEN = { consumed: null, consumedDeadLetter: null } as const;

function causeOf(work: Work): CommitDraft["cause"] {
  // A look at its health is never committed.
  return work.kind === "health" ? "task" : work.kind;
}
