/**
 * Takes committed messages and events to where they go (D3). Each pair of sender and
 * receiver has a lane: one message at a time, in the order of their commits. The store
 * holds every entry until its receiver's own commit takes it, so memory may forget any.
 *
 * Invariants
 * - O1 Of one lane, no entry is delivered before an earlier one is done.
 * - O2 An entry is delivered at least once; a receiver drops what it has had (D2).
 * - O3 At most HELD_MAX entries and HELD_BYTES_MAX bytes are in memory, and of one lane
 *   LANE_MAX; of a lane whose receiver takes nothing, one.
 * - O4 A lane that is `behind`, or every lane while the courier is, has entries in the
 *   store after those in memory: what is committed meanwhile stays there too (O1), until
 *   a scan of the store has come to the end and left none.
 * - O5 The same holds for all lanes of a sender that has just come to this host: what it
 *   left in the store comes first. Of one that was forgotten nothing is held or begun.
 */
import { create, toBinary } from "@bufbuild/protobuf";
import { type MessageCall, MessageCallSchema } from "../contract/gen/sirsi/agent/v1/guest_pb.ts";
import type { Message } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import type { Clock, Timer } from "../core/clock.ts";
import { SirsiError } from "../core/errors.ts";
import { faultPoint } from "../core/fault-points.ts";
import { isMessageId, newId } from "../core/ids.ts";
import type { Logger } from "../observe/index.ts";
import type { DeadLetter, OutboxCursor, OutboxKey, Store, StoredOutboxEntry } from "../store/store.ts";
import { fateOf } from "./delivery-fate.ts";
import { type Effect, readEmit } from "./effects.ts";
import { Settling } from "./settling.ts";

const HELD_MAX = 10_000;
const HELD_BYTES_MAX = 64 * 1024 * 1024;
const LANE_MAX = 1_000;
/** After so many failures a lane keeps only the entry it is at. */
const PATIENT_AFTER = 3;
const PAGE = 200;
const SCAN_AGAIN_MS = 1_000;

export type EventEffect = Extract<Effect, { kind: "event" }>;

export interface CourierConfig {
  readonly clock: Clock;
  readonly random: () => number;
  readonly store: Pick<Store, "listOutbox" | "settleOutbox" | "deadLetterOutbox">;
  readonly log: Logger;
  /** Settles as the receiver's step ends. "kept": the entry is still in the store, and nobody else takes it from there. */
  readonly deliver: (entry: StoredOutboxEntry, message: Message) => Promise<"taken" | "kept">;
  readonly publish: (entry: StoredOutboxEntry, event: EventEffect) => void;
  /** It will never be delivered, and is a dead letter now. */
  readonly onDead: (letter: DeadLetter) => void;
  readonly heldMax?: number;
  readonly laneMax?: number;
}

interface Lane {
  readonly name: string;
  readonly sender: string;
  readonly queue: StoredOutboxEntry[];
  busy: boolean;
  /** How often the entry it is at was tried. */
  attempts: number;
  retry: Timer | null;
  /** O4. */
  behind: boolean;
  /** Something of it stayed in the store since the scan under way began. */
  left: boolean;
  /** Its sender was forgotten: what comes of the delivery under way is nobody's affair. */
  gone: boolean;
}

export class OutboxCourier {
  readonly #config: CourierConfig;
  readonly #heldMax: number;
  readonly #laneMax: number;
  readonly #lanes = new Map<string, Lane>();
  /** Keys of the entries in lanes, and of events that are still to be settled. */
  readonly #held = new Set<string>();
  readonly #settling: Settling;
  #heldBytes = 0;
  /** O4: true until the first scan has come to the end. */
  #behind = true;
  #missed = false;
  #scanning: Promise<void> | null = null;
  #scanWanted = false;
  /** What was done since the scan began: a page may still show it. */
  #doneInScan = new Set<string>();
  /** O5. Senders whose entries of before are not read yet. */
  readonly #unread = new Set<string>();
  #forgottenInScan = new Set<string>();
  /** Rises when everything is dropped: a scan of before ends then. */
  #life = 0;
  #roomWaiter: (() => void) | null = null;
  #rescan: Timer | null = null;
  #started = false;
  #closed = false;

  constructor(config: CourierConfig) {
    this.#config = config;
    this.#heldMax = config.heldMax ?? HELD_MAX;
    this.#laneMax = config.laneMax ?? LANE_MAX;
    this.#settling = new Settling({ ...config, settled: (keys) => keys.forEach((key) => this.#done(keyText(key))) });
  }

  /** Entries in memory. */
  get held(): number {
    return this.#held.size;
  }

  /** Begins with what the store has. What is committed before is found there. */
  start(): void {
    this.#started = true;
    this.#scan();
  }

  /** The store has entries of this sender that were not committed here (O5). */
  rescan(sender: string): void {
    this.expect(sender);
    this.rescanExpected();
  }

  /** The same, to be read with `rescanExpected`. */
  expect(sender: string): void {
    this.#unread.add(sender);
  }

  rescanExpected(): void {
    if (this.#started) this.#scan();
  }

  /** Entries of this sender are on their way. */
  holds(sender: string): boolean {
    for (const { sender: of } of this.#lanes.values()) if (of === sender) return true;
    return false;
  }

  /** Others deliver for these senders from now on. */
  forget(senders: ReadonlySet<string>): void {
    for (const sender of senders) this.#unread.delete(sender);
    if (this.#scanning !== null) for (const sender of senders) this.#forgottenInScan.add(sender);
    for (const lane of this.#lanes.values()) if (senders.has(lane.sender)) this.#dropLane(lane);
  }

  #dropLane(lane: Lane): void {
    lane.gone = true;
    lane.retry?.cancel();
    this.#lanes.delete(lane.name);
    for (const entry of lane.queue.splice(0)) this.#drop(entry, false);
  }

  /** Drops everything, without a write, until it is started again. */
  reset(): void {
    this.#life++;
    this.#started = false;
    this.#behind = true;
    this.#scanWanted = false;
    this.#rescan?.cancel();
    this.#rescan = null;
    this.#unread.clear();
    for (const lane of this.#lanes.values()) this.#dropLane(lane);
    this.#settling.drop();
    this.#held.clear();
    this.#heldBytes = 0;
    this.#roomWaiter?.();
  }

  /** They are on disk: in order, all of one commit. */
  committed(entries: readonly StoredOutboxEntry[]): void {
    if (this.#closed) return;
    for (const entry of entries) {
      if (this.#unread.size > 0 && this.#unread.has(entry.key.agentId)) {
        this.#missed = true;
        continue;
      }
      if (entry.kind === "event") {
        if (this.#behind) this.#missed = true;
        else this.#publish(entry);
        continue;
      }
      if (!this.#behind && this.#full) this.#fallBehind();
      const lane = this.#lanes.get(laneName(entry));
      if (this.#behind) this.#missed = true;
      else if (lane?.behind === true) this.#leave(lane);
      else this.#place(entry);
    }
  }

  #leave(lane: Lane): void {
    lane.behind = true;
    lane.left = true;
    if (lane.queue.length === 0) this.#scan();
  }

  #fallBehind(): void {
    this.#behind = true;
    this.#scan();
  }

  get #full(): boolean {
    return this.#held.size >= this.#heldMax || this.#heldBytes >= HELD_BYTES_MAX;
  }

  /** Into its lane, or left in the store when the lane has its fill. */
  #place(entry: StoredOutboxEntry): void {
    const lane = this.#laneOf(entry);
    if (lane.left || lane.queue.length >= this.#laneMax || lane.attempts >= PATIENT_AFTER) {
      this.#leave(lane);
      return;
    }
    this.#held.add(keyText(entry.key));
    this.#heldBytes += entry.body.length;
    lane.queue.push(entry);
    this.#run(lane);
  }

  #laneOf(entry: StoredOutboxEntry): Lane {
    const name = laneName(entry);
    let lane = this.#lanes.get(name);
    if (lane === undefined) {
      lane = { name, sender: entry.key.agentId, queue: [], busy: false, attempts: 0, retry: null, behind: false, left: false, gone: false };
      this.#lanes.set(name, lane);
    }
    return lane;
  }

  // --- a lane ----------------------------------------------------------------------

  #run(lane: Lane): void {
    if (lane.busy || lane.retry !== null || this.#closed) return;
    const entry = lane.queue[0];
    if (entry === undefined) {
      if (!lane.behind) this.#lanes.delete(lane.name);
      return;
    }
    lane.busy = true;
    lane.attempts++;
    void this.#attempt(lane, entry).then((retryMs) => {
      lane.busy = false;
      if (this.#closed || lane.gone) return;
      if (retryMs === null) this.#next(lane, entry);
      else this.#wait(lane, retryMs);
    });
  }

  #next(lane: Lane, entry: StoredOutboxEntry): void {
    lane.queue.shift();
    lane.attempts = 0;
    this.#drop(entry, true);
    if (lane.behind && lane.queue.length <= this.#laneMax / 4) this.#scan();
    this.#run(lane);
  }

  #wait(lane: Lane, delayMs: number): void {
    if (lane.attempts >= PATIENT_AFTER && lane.queue.length > 1) {
      for (const entry of lane.queue.splice(1)) this.#drop(entry, false);
      lane.behind = true;
      lane.left = true;
    }
    lane.retry = this.#config.clock.after(delayMs, () => {
      lane.retry = null;
      this.#run(lane);
    });
  }

  #drop(entry: StoredOutboxEntry, done: boolean): void {
    this.#heldBytes -= entry.body.length;
    const key = keyText(entry.key);
    if (done) this.#done(key);
    else this.#held.delete(key);
    this.#tellRoom();
  }

  #done(key: string): void {
    this.#held.delete(key);
    if (this.#scanning !== null) this.#doneInScan.add(key);
    this.#tellRoom();
  }

  #tellRoom(): void {
    if (this.#held.size <= this.#heldMax / 2 && this.#heldBytes <= HELD_BYTES_MAX / 2) this.#roomWaiter?.();
  }


  // --- an entry --------------------------------------------------------------------

  /** Null when it is done with; else milliseconds until it is tried again. Never rejects. */
  async #attempt(lane: Lane, entry: StoredOutboxEntry): Promise<number | null> {
    const { random } = this.#config;
    const attempt = lane.attempts;
    let message: Message | null = null;
    try {
      message = messageOf(entry);
      faultPoint("outbox.before-deliver");
      const outcome = await this.#config.deliver(entry, message);
      faultPoint("outbox.delivered");
      if (outcome === "kept" && !lane.gone) this.#settling.add(entry.key);
      return null;
    } catch (thrown) {
      if (lane.gone) return null;
      const error = SirsiError.from(thrown);
      const fate = message === null ? ({ kind: "dead" } as const) : fateOf(error, attempt, random());
      if (fate.kind === "again") return fate.delayMs;
      if (fate.kind === "done") this.#settling.add(entry.key);
      else if (!(await this.#bury(entry, message, error, attempt))) return DEAD_LETTER_RETRY_MS;
      return null;
    }
  }

  /** False when the store did not take it. */
  async #bury(entry: StoredOutboxEntry, message: Message | null, error: SirsiError, attempts: number): Promise<boolean> {
    const { clock, store, log, onDead } = this.#config;
    const now = clock.now();
    const call: MessageCall = create(MessageCallSchema, { ...(message === null ? {} : { message }), sourceAgentId: entry.key.agentId });
    const letter: DeadLetter = {
      deadLetterId: newId(now),
      agentId: entry.target,
      sessionId: entry.sessionId,
      sourceAgentId: entry.key.agentId,
      messageId: message?.messageId ?? "",
      reason: error.code,
      explanation: error.message,
      attempts,
      deadAt: now,
      body: toBinary(MessageCallSchema, call),
    };
    try {
      await store.deadLetterOutbox(entry.key, letter);
    } catch (thrown) {
      log.warn({ agentId: entry.target, err: SirsiError.from(thrown).message }, "a message that cannot be delivered could not be set aside; tried again");
      return false;
    }
    log.warn({ agentId: entry.target, sourceAgentId: entry.key.agentId, messageId: letter.messageId, reason: error.code, err: error.message }, "a message between agents cannot be delivered and is a dead letter now");
    onDead(letter);
    return true;
  }

  /** Events wait for nobody. */
  #publish(entry: StoredOutboxEntry): void {
    const key = keyText(entry.key);
    if (this.#held.has(key)) return;
    this.#held.add(key);
    try {
      const effect = readEmit(entry.body, null);
      if (effect?.kind === "event") this.#config.publish(entry, effect);
    } catch (thrown) {
      this.#config.log.warn({ agentId: entry.key.agentId, err: SirsiError.from(thrown).message }, "an event could not be published");
    }
    this.#settling.add(entry.key);
  }

  // --- the store -------------------------------------------------------------------

  #scan(): void {
    if (this.#closed) return;
    this.#scanWanted = true;
    if (this.#scanning !== null || this.#rescan !== null) return;
    this.#scanWanted = false;
    const life = this.#life;
    this.#scanning = this.#scanAll(life).then(
      () => this.#scanned(),
      (thrown: unknown) => this.#scanFailed(SirsiError.from(thrown), life),
    );
  }

  #scanned(): void {
    this.#scanEnded();
    if (this.#scanWanted) this.#scan();
  }

  #scanEnded(): void {
    this.#scanning = null;
    this.#doneInScan = new Set();
    this.#forgottenInScan = new Set();
  }

  #scanFailed(error: SirsiError, life: number): void {
    this.#scanEnded();
    if (this.#closed) return;
    if (life !== this.#life) {
      if (this.#scanWanted) this.#scan();
      return;
    }
    this.#config.log.warn({ err: error.message }, "the outbox could not be read from the store; tried again in a second");
    this.#rescan = this.#config.clock.after(SCAN_AGAIN_MS, () => {
      this.#rescan = null;
      this.#scan();
    });
  }

  async #scanAll(life: number): Promise<void> {
    let after: OutboxCursor | null = null;
    const unread = new Set(this.#unread);
    for (const lane of this.#lanes.values()) lane.left = false;
    this.#missed = false;
    const over = () => this.#closed || life !== this.#life;
    while (!over()) {
      const page = await this.#config.store.listOutbox(after, PAGE);
      for (const entry of page.entries) {
        if (this.#full && !over()) await this.#room();
        if (over()) return;
        const key = keyText(entry.key);
        if (this.#held.has(key) || this.#doneInScan.has(key) || this.#passesOver(entry.key.agentId, unread)) continue;
        if (entry.kind === "event") this.#publish(entry);
        else this.#place(entry);
      }
      if (page.next !== null) {
        after = page.next;
      } else if (this.#missed) {
        // Committed while the end was read: once more from the last page on.
        this.#missed = false;
      } else if (!over()) {
        this.#caughtUp(unread);
        return;
      }
    }
  }

  /** Of one that came while the scan was under way, entries lie on pages that it has passed: the next scan has them all. */
  #passesOver(sender: string, unread: ReadonlySet<string>): boolean {
    return this.#forgottenInScan.has(sender) || (this.#unread.has(sender) && !unread.has(sender));
  }

  #caughtUp(read: ReadonlySet<string>): void {
    this.#behind = false;
    for (const sender of read) this.#unread.delete(sender);
    for (const lane of this.#lanes.values()) {
      if (!lane.behind || lane.left) continue;
      lane.behind = false;
      this.#run(lane);
    }
  }

  #room(): Promise<void> {
    return new Promise((resolve) => {
      this.#roomWaiter = () => {
        this.#roomWaiter = null;
        resolve();
      };
    });
  }

  /** Delivers nothing more. What was delivered is settled, if the store lets it. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#rescan?.cancel();
    for (const lane of this.#lanes.values()) lane.retry?.cancel();
    this.#roomWaiter?.();
    await this.#scanning;
    await this.#settling.close();
  }
}

const DEAD_LETTER_RETRY_MS = 1_000;

function keyText({ agentId, commitSequence, index }: OutboxKey): string {
  return `${agentId}/${commitSequence}/${index}`;
}

function laneName(entry: StoredOutboxEntry): string {
  return `${entry.key.agentId}>${entry.target}`;
}

/** The message with the id that it has for good: the guest's own, or one made of its key. STORE_CORRUPT, GUEST_PROTOCOL. */
function messageOf(entry: StoredOutboxEntry): Message {
  const effect = readEmit(entry.body, null);
  if (effect?.kind !== "message") throw new SirsiError("STORE_CORRUPT", `outbox entry ${keyText(entry.key)} holds no message; restore the data directory from a backup`);
  const { message } = effect;
  if (isMessageId(message.messageId)) return message;
  return { ...message, messageId: `out-${entry.key.agentId}-${entry.key.commitSequence}-${entry.key.index}` };
}
