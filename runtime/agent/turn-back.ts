/**
 * An agent as its former revision would have it now, for when the revision that it moved
 * to cannot hand its state back: the state before the move, and the messages since told
 * to it again. What those steps emitted was let go long ago, so what they emit now is
 * dropped; what they ask for, they are told was interrupted.
 *
 * Nothing of it is committed here. Throws when something that happened since cannot be
 * told again: then the agent is better left where it is.
 */
import { fromBinary } from "@bufbuild/protobuf";
import { type Exchange, ExchangeSchema, type Message } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { encodeGuestFailure, encodeMessageCall } from "../contract/guest-codec.ts";
import { SirsiError } from "../core/errors.ts";
import type { Revision } from "../module/revision.ts";
import { lostError } from "../sandbox/index.ts";
import type { AgentRecord, CommitEntry } from "../store/store.ts";
import { isDurable } from "./durability.ts";
import { NO_SIGNAL, type OpenedLife, openFrom, stepOn } from "./life.ts";
import type { Surroundings } from "./surroundings.ts";

export interface TurnBack {
  readonly around: Surroundings;
  readonly record: AgentRecord;
  /** The revision it is on, which is not kept. */
  readonly from: Revision;
  /** The one before. */
  readonly to: Revision;
}

const PAGE = 200;
/** More messages than this are not told again while the agent waits for it. */
const MESSAGES_MAX = 1_000;
/** What commits of these kinds did cannot be told again: nobody kept what it was. */
const FLEETING: ReadonlySet<CommitEntry["cause"]> = new Set(["event", "timer", "task", "suggest"]);

export async function turnBack({ around, record, from, to }: TurnBack): Promise<OpenedLife> {
  if (!isDurable(from) || !isDurable(to)) throw new SirsiError("STATE_NOT_KEPT", "its module keeps no states (durability none)");
  const { move, messageIds } = await since(around, record.agentId, from.digest);
  const chain = await around.store.getState(record.agentId, move.commitSequence - 1);
  if (chain === null || chain.digest !== to.digest) throw new SirsiError("STATE_NOT_KEPT", `no state of revision ${to.manifest.version} is kept any more; raise durability.history_commits to keep more`);
  const messages: Message[] = [];
  for (const messageId of messageIds) messages.push(await messageOf(around, record.agentId, messageId));
  const silent: Surroundings = { ...around, capabilities: { ...around.capabilities, perform: () => Promise.resolve(INTERRUPTED) } };
  const life = await openFrom(around, to, record, [chain.base, ...chain.differences]);
  try {
    let { memoryBytes } = life;
    for (const message of messages) memoryBytes = await tell(silent, life, to, record, message);
    const taken = await life.handle.takeState();
    if (taken.kind === "failed") throw SirsiError.revive(taken.error);
    if (taken.kind === "lost") throw lostError(taken);
    return { ...life, state: taken.image, memoryBytes };
  } catch (thrown) {
    life.handle.close();
    throw thrown;
  }
}

const INTERRUPTED = encodeGuestFailure(new SirsiError("INTERRUPTED", "the message is told again on an earlier revision: what it asked for was done the first time"));

interface Since {
  /** The commit that brought it to the revision that is left. */
  readonly move: CommitEntry;
  /** Oldest first. */
  readonly messageIds: readonly string[];
}

async function since({ store }: Surroundings, agentId: string, digest: string): Promise<Since> {
  const messageIds: string[] = [];
  for (let before = Infinity; ; ) {
    const page = await store.listCommits(agentId, before, PAGE);
    for (const entry of page) {
      if (entry.cause === "swap" && entry.digest === digest) return { move: entry, messageIds: messageIds.toReversed() };
      if (FLEETING.has(entry.cause)) throw new SirsiError("STATE_NOT_KEPT", `since then it has handled a step of kind ${entry.cause}, which cannot be told again`);
      if (entry.cause === "message") messageIds.push(entry.causeId);
    }
    const last = page.at(-1);
    if (last === undefined || page.length < PAGE) throw new SirsiError("STATE_NOT_KEPT", "its history does not go back to its move");
    if (messageIds.length > MESSAGES_MAX) throw new SirsiError("STATE_NOT_KEPT", `it has handled more than ${MESSAGES_MAX} messages since`);
    before = last.commitSequence;
  }
}

async function messageOf({ store }: Surroundings, agentId: string, messageId: string): Promise<Message> {
  const found = await store.findExchange(agentId, messageId);
  const exchange: Exchange | null = found === null || found.body.length === 0 ? null : fromBinary(ExchangeSchema, found.body);
  const message = exchange?.message;
  if (message === undefined) throw new SirsiError("STATE_NOT_KEPT", `message ${messageId} is no longer kept; raise agents.exchanges_kept to keep more`);
  if (message.attachments.some(({ content }) => content.case === undefined)) throw new SirsiError("STATE_NOT_KEPT", `an attachment of message ${messageId} was too large to keep`);
  return message;
}

/** Tells one message again and gives the memory that the guest has then. A refusal is an answer. */
async function tell(around: Surroundings, { handle }: OpenedLife, revision: Revision, record: AgentRecord, message: Message): Promise<number> {
  const end = await stepOn(around, handle, revision, record, encodeMessageCall(message, {}, ""), {
    deadline: around.clock.monotonic() + revision.limits.stepTimeoutMs,
    stepId: message.messageId,
    signal: NO_SIGNAL,
    state: "none",
    traceparent: "",
    onEmits: () => undefined,
  });
  if (end.kind === "done") return end.memoryBytes;
  throw new SirsiError(end.error.code, `message ${message.messageId}, told again, ended it: ${end.error.message}`);
}
