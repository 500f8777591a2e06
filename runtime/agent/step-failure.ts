/** What the store is told of a step that came to nothing, before its caller is (A2). */
import { SirsiError } from "../core/errors.ts";
import type { Conversation } from "./conversation.ts";
import { type Deaths, DEATHS_MAX, deadLetterOf } from "./poison.ts";
import { takenBy } from "./record-step.ts";
import { answerStored } from "./repeat.ts";
import type { Stepper } from "./run-step.ts";
import { isGuestFault } from "./step.ts";
import { causeIdOf, type MessageWork, type TimerWork, type Work } from "./work.ts";

export type Verdict =
  | { readonly kind: "failed"; readonly error: SirsiError }
  /** It is given up for good: whoever brought it need not come again. */
  | { readonly kind: "done" };

type Failing = Pick<Stepper, "around" | "ledger" | "record">;

/**
 * Ends the wait that the store may have of the step; sets a message aside that has ended its
 * agent before, and drops a timer that has. When the store takes none of it, the caller
 * gets the step's own error, and a later commit ends the wait. Never rejects.
 */
export async function giveUpOn(agent: Failing, deaths: Deaths, work: Work, error: SirsiError): Promise<Verdict> {
  try {
    if (isGuestFault(error)) {
      if (work.kind === "message") return await messageDied(agent, deaths, work, error);
      if (work.kind === "timer") return await timerDied(agent, deaths, work, error);
    }
    await agent.ledger.giveUpWait(causeIdOf(work));
  } catch (thrown) {
    agent.around.log.warn({ agentId: agent.record.agentId, err: SirsiError.from(thrown).message }, "the end of a failed step could not be committed");
  }
  return { kind: "failed", error };
}

async function messageDied({ around, ledger, record }: Failing, deaths: Deaths, work: MessageWork, error: SirsiError): Promise<Verdict> {
  const { messageId } = work.delivery.message;
  const attempts = deaths.count(messageId);
  if (attempts < DEATHS_MAX) {
    await ledger.giveUpWait(messageId);
    return { kind: "failed", error };
  }
  const letter = deadLetterOf(work, record, error, attempts, around.clock.now());
  await ledger.deadLetter(letter, takenBy(work));
  deaths.forget(messageId);
  around.log.warn({ agentId: record.agentId, messageId, deadLetterId: letter.deadLetterId, reason: error.code }, "a message ended its agent twice and is a dead letter now");
  const why = `message ${messageId} ended agent ${record.agentId} ${attempts} times (${error.message}) and was set aside as dead letter ${letter.deadLetterId}; mend the module, then \`sirsi deadletter retry ${letter.deadLetterId}\``;
  return { kind: "failed", error: new SirsiError("DEAD_LETTERED", why, { metadata: { dead_letter_id: letter.deadLetterId, reason: error.code } }) };
}

async function timerDied({ around, ledger, record }: Failing, deaths: Deaths, { timerId, dueAt }: TimerWork, error: SirsiError): Promise<Verdict> {
  const key = `timer ${timerId}@${dueAt}`;
  if (deaths.count(key) < DEATHS_MAX) {
    await ledger.giveUpWait(timerId);
    return { kind: "failed", error };
  }
  await ledger.commit({ cause: "given_up", causeId: timerId, firedTimer: { timerId, dueAt } });
  deaths.forget(key);
  around.log.error({ agentId: record.agentId, timerId, reason: error.code, err: error.message }, "a timer ended its agent twice and was dropped");
  return { kind: "done" };
}

/**
 * The store refused the commit of a message (D2): it is a repeat of one that took effect
 * too long ago to be known in memory. It is answered as a repeat is. Null when the
 * store does not know it after all.
 */
export async function answerLateRepeat({ around, ledger, record, conversation }: Failing & { readonly conversation: Conversation }, work: MessageWork): Promise<SirsiError | "answered" | null> {
  const { message } = work.delivery;
  try {
    const stored = await around.store.findExchange(record.agentId, message.messageId);
    if (stored === null) return null;
    await ledger.giveUpWait(message.messageId);
    const reply = answerStored(message, stored);
    conversation.forget(message.messageId);
    work.reply.resolve(reply);
    return "answered";
  } catch (thrown) {
    return SirsiError.from(thrown);
  }
}
