/**
 * What an agent has in the store, and how its steps get there. The place of the
 * commit protocol: one commit a step, in order; what failed to commit is read back.
 */
import type { Revision } from "../module/revision.ts";
import type { AgentCommit, AgentCounters, AgentRecord, CheckpointRecord, StoredAgent } from "../store/store.ts";
import { SirsiError } from "../core/errors.ts";
import { type Conversation, exchangeBody } from "./conversation.ts";
import type { Completed } from "./run-work.ts";
import type { Surroundings } from "./surroundings.ts";

const ZERO: AgentCounters = { messagesProcessed: 0, operationsCompleted: 0, errorsEncountered: 0, responseTimeTotalMs: 0, lastActivityAt: 0 };

export class AgentLedger {
  readonly #around: Surroundings;
  readonly #agentId: string;
  #counters: AgentCounters;
  #commitSequence: number;
  /** A commit's fate is unknown: ask the store before the next one. */
  #stale = false;

  constructor(around: Surroundings, agentId: string, stored: StoredAgent | null) {
    this.#around = around;
    this.#agentId = agentId;
    this.#counters = stored?.counters ?? { ...ZERO, lastActivityAt: around.clock.now() };
    this.#commitSequence = stored?.commitSequence ?? 0;
  }

  get counters(): AgentCounters {
    return this.#counters;
  }

  /** The agent's first appearance in the store. `image` is its state after init; null when it keeps none. */
  async create(record: AgentRecord, revision: Revision, image: Uint8Array | null): Promise<void> {
    const { store } = this.#around;
    const put = store.putAgent(record);
    if (image === null) return await put;
    // Both are asked for at once and share a flush; the store takes them in order.
    await Promise.all([put, this.#write({ agent: null, checkpoint: checkpointOf(revision, image), exchange: null })]);
  }

  /** Records a step that ended well. Null when nothing has to reach the store first. */
  record(revision: Revision, conversation: Conversation, { work, call, result, answer, end }: Completed, contentHash: string, tookMs: number, now: number): Promise<void> | null {
    const before = this.#counters;
    this.#count(work.kind === "message", answer.refusal !== null, tookMs, now);
    const sequence = conversation.sequence + 1;
    if (end.checkpoint === null) {
      if (work.kind === "message") {
        conversation.sequence = sequence;
        conversation.settleKept(work.delivery.message.messageId, call, result, now);
      }
      return null;
    }
    const exchange =
      work.kind === "message" && answer.exchange !== null
        ? { sequence, messageId: work.delivery.message.messageId, messageHash: contentHash, body: exchangeBody(sequence, work.delivery.message, answer.exchange, now) }
        : null;
    const written = this.#write({ agent: null, checkpoint: checkpointOf(revision, end.checkpoint), exchange });
    return written.then(
      () => {
        if (exchange !== null) conversation.sequence = sequence;
      },
      (thrown: unknown) => {
        this.#counters = before;
        throw thrown;
      },
    );
  }

  #count(message: boolean, refused: boolean, tookMs: number, now: number): void {
    const before = this.#counters;
    this.#counters = {
      messagesProcessed: before.messagesProcessed + (message ? 1 : 0),
      operationsCompleted: before.operationsCompleted + 1,
      errorsEncountered: before.errorsEncountered + (refused ? 1 : 0),
      responseTimeTotalMs: before.responseTimeTotalMs + (message ? tookMs : 0),
      lastActivityAt: now,
    };
  }

  countError(now: number): void {
    this.#counters = { ...this.#counters, errorsEncountered: this.#counters.errorsEncountered + 1, lastActivityAt: now };
  }

  /** The last committed state; null when nothing was ever committed. */
  async recall(): Promise<CheckpointRecord | null> {
    if (this.#stale) await this.#catchUp();
    return this.#commitSequence === 0 ? null : await this.#around.store.getCheckpoint(this.#agentId);
  }

  async #catchUp(): Promise<void> {
    const stored = await this.#around.store.getAgent(this.#agentId);
    if (stored === null) throw new SirsiError("AGENT_NOT_FOUND", `agent ${this.#agentId} is no longer in the store`);
    this.#commitSequence = stored.commitSequence;
    this.#stale = false;
  }

  /** S2: the new revision and its first checkpoint in one commit. */
  async commitSwap(record: AgentRecord, revision: Revision, image: Uint8Array | null): Promise<void> {
    if (image === null) return await this.#around.store.putAgent(record);
    await this.#write({ agent: record, checkpoint: checkpointOf(revision, image), exchange: null });
  }

  /** Writes the agent's record when it can; a failure is logged, for the record is not what replies rest on. */
  note(record: AgentRecord): void {
    this.#around.store.putAgent(record).catch((thrown: unknown) => this.#around.log.warn({ agentId: this.#agentId, err: SirsiError.from(thrown).message }, "an agent's state could not be noted"));
  }

  async #write(what: Pick<AgentCommit, "agent" | "checkpoint" | "exchange">): Promise<void> {
    const { clock, metrics, store, exchangesKept } = this.#around;
    if (this.#stale) await this.#catchUp();
    const started = clock.monotonic();
    const commitSequence = this.#commitSequence + 1;
    this.#commitSequence = commitSequence;
    try {
      await store.commit({ ...what, agentId: this.#agentId, commitSequence, counters: this.#counters, keepExchanges: exchangesKept });
    } catch (thrown) {
      this.#stale = true;
      throw thrown;
    }
    metrics.histogram("sirsi_store_commit_seconds").observe((clock.monotonic() - started) / 1000);
  }
}

function checkpointOf(revision: Revision, image: Uint8Array): CheckpointRecord {
  // A view into a batch of frames would take the whole batch with it to the store's thread.
  return { digest: revision.digest, preparation: revision.preparation, image: image.slice() };
}
