/** How work comes to an agent: what is taken in, as which work, and who waits for it. */
import type { Suggestion, SuggestionContext } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import type { AgentEvent } from "../contract/gen/sirsi/agent/v1/events_pb.ts";
import type { HealthResult } from "../contract/gen/sirsi/agent/v1/guest_pb.ts";
import { Deferred } from "../core/deferred.ts";
import { SirsiError } from "../core/errors.ts";
import type { Revision } from "../module/revision.ts";
import type { TimerRecord, WaitRecord } from "../store/store.ts";
import type { AgentLedger } from "./agent-ledger.ts";
import type { Delivery, Reply } from "./agents.ts";
import type { Conversation } from "./conversation.ts";
import type { Surroundings } from "./surroundings.ts";
import { workOfWait } from "./wait-record.ts";
import type { Work } from "./work.ts";

/** How long a guest may think about its health. */
const EXAMINE_MS = 5_000;
/** Priority.CRITICAL: it was in hand before anything else came. */
const RESUMED_PRIORITY = 4;

export interface Arriving {
  readonly id: string;
  readonly around: Surroundings;
  readonly revision: Revision;
  readonly conversation: Conversation;
  readonly ledger: AgentLedger;
  /** Null when it takes work. */
  refusal(): SirsiError | null;
  enqueue(work: Work, priority: number): void;
  between(act: () => Promise<void>): Promise<void>;
}

export class Arrivals {
  readonly #agent: Arriving;
  /** Timers that are in hand or wait in the mailbox, by name and time. */
  readonly #firing = new Map<string, Promise<void>>();

  /** Messages whose ids the store is asked about: no work yet, and not to be lost sight of. */
  #lookedUp = 0;

  constructor(agent: Arriving) {
    this.#agent = agent;
  }

  get lookingUp(): boolean {
    return this.#lookedUp > 0;
  }

  /** Keeps the agent in memory until the message's fate is known. */
  async lookUp(answer: Promise<Reply>): Promise<Reply> {
    this.#lookedUp++;
    try {
      return await answer;
    } finally {
      this.#lookedUp--;
    }
  }

  message(delivery: Delivery): Promise<Reply> {
    const agent = this.#agent;
    const refusal = agent.refusal();
    if (refusal !== null) return Promise.reject(refusal);
    const reply = new Deferred<Reply>();
    agent.conversation.begin(delivery.message, reply.promise);
    const queuedAt = agent.around.clock.monotonic();
    agent.enqueue({ kind: "message", delivery, reply, queuedAt, deadline: delivery.deadline ?? queuedAt + agent.revision.limits.stepTimeoutMs, signal: delivery.signal, wait: null }, delivery.priority);
    return reply.promise;
  }

  suggestion(context: SuggestionContext, max: number, deadline: number | null, signal: AbortSignal | null): Promise<readonly Suggestion[]> {
    const refusal = this.#agent.refusal();
    if (refusal !== null) return Promise.reject(refusal);
    const reply = new Deferred<readonly Suggestion[]>();
    this.#agent.enqueue({ kind: "suggest", context, max, reply, ...this.#when(deadline), signal }, 0);
    return reply.promise;
  }

  /** False when it would not be taken. */
  event(event: AgentEvent): boolean {
    const { id, around } = this.#agent;
    if (this.#agent.refusal() !== null) return false;
    const reply = new Deferred<void>();
    reply.promise.catch((thrown: unknown) => around.log.warn({ agentId: id, err: SirsiError.from(thrown).message }, "an event was not handled"));
    this.#agent.enqueue({ kind: "event", event, reply, ...this.#when(null), signal: null, wait: null }, 0);
    return true;
  }

  timer({ timerId, dueAt, payload }: TimerRecord): Promise<void> {
    const inHand = this.#firing.get(timerKey(timerId, dueAt));
    if (inHand !== undefined) return inHand;
    const refusal = this.#agent.refusal();
    if (refusal !== null) return Promise.reject(refusal);
    const reply = new Deferred<void>();
    this.#fires(timerId, dueAt, reply.promise);
    this.#agent.enqueue({ kind: "timer", timerId, dueAt, payload, reply, ...this.#when(null), signal: null, wait: null }, 0);
    return reply.promise;
  }

  #fires(timerId: string, dueAt: number, done: Promise<void>): void {
    const key = timerKey(timerId, dueAt);
    this.#firing.set(key, done);
    const forget = () => this.#firing.delete(key);
    done.then(forget, forget);
  }

  health(): Promise<HealthResult | null> {
    const reply = new Deferred<HealthResult | null>();
    this.#agent.enqueue({ kind: "health", reply, ...this.#when(this.#agent.around.clock.monotonic() + EXAMINE_MS), signal: null }, 0);
    return reply.promise;
  }

  /** A step that waited when another process ended (D4). One that cannot be read is rolled back. */
  wait(stored: WaitRecord): void {
    const { id, around, conversation, ledger } = this.#agent;
    const { clock, log } = around;
    ledger.foundWait();
    try {
      const work = workOfWait(stored, clock);
      if (work.kind === "message") conversation.begin(work.delivery.message, work.reply.promise);
      if (work.kind === "timer") this.#fires(work.timerId, work.dueAt, work.reply.promise);
      work.reply.promise.catch((thrown: unknown) => log.warn({ agentId: id, err: SirsiError.from(thrown).message }, "a step that had waited through a restart ended with an error"));
      this.#agent.enqueue(work, RESUMED_PRIORITY);
    } catch (thrown) {
      log.error({ agentId: id, err: SirsiError.from(thrown).message }, "a step that waited is rolled back");
      this.#agent.between(() => ledger.giveUpWait(stored.messageId)).catch((failed: unknown) => log.warn({ agentId: id, err: SirsiError.from(failed).message }, "a wait could not be taken back; the agent's next commit ends it"));
    }
  }

  #when(deadline: number | null): Pick<Work, "queuedAt" | "deadline"> {
    const queuedAt = this.#agent.around.clock.monotonic();
    return { queuedAt, deadline: deadline ?? queuedAt + this.#agent.revision.limits.stepTimeoutMs };
  }
}

function timerKey(timerId: string, dueAt: number): string {
  return `${timerId}@${dueAt}`;
}
