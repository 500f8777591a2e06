/**
 * What a step does to the world beyond its own memory: messages and events for the
 * outbox, timers, documents. Each is read and checked when the guest emits it, so that a
 * wrong one fails the step, and takes effect with the step's commit (D1).
 */
import { documentKeyFault, type DocumentWrites, requireGrant } from "../capability/index.ts";
import type { EmitEvent, GuestEmit } from "../contract/gen/sirsi/agent/v1/guest_pb.ts";
import { decodeGuestEmit } from "../contract/guest-codec.ts";
import type { Message } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { SirsiError } from "../core/errors.ts";
import type { HostCapability } from "../module/revision.ts";
import type { DocumentChange, OutboxEntry, TimerChange } from "../store/store.ts";

export type Effect =
  | { readonly kind: "event"; readonly eventType: string; readonly topic: string; readonly payload: Uint8Array; readonly attributes: Readonly<Record<string, string>> }
  | { readonly kind: "message"; readonly agentId: string; readonly message: Message }
  | { readonly kind: "set_timer"; readonly timerId: string; readonly delayMs: number; readonly payload: Uint8Array }
  | { readonly kind: "cancel_timer"; readonly timerId: string }
  /** Null bytes remove it. */
  | { readonly kind: "document"; readonly key: string; readonly bytes: Uint8Array | null };

/** What leaves the agent: the rest only changes what is kept. */
export type OutgoingEffect = Extract<Effect, { kind: "event" | "message" }>;

/** Guests name events in lower case, so that none passes for one of the host's. */
const EVENT_TYPE = /^[a-z][a-z0-9_]*(\.[a-z0-9_]+)*$/;
const TOPIC = /^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$/;
const TIMER_ID = /^[\x21-\x7e]{1,128}$/;
const NAME_MAX_CHARS = 128;
const ATTRIBUTES_MAX = 64;
/** Ten years: later ones are a mistake in the unit. */
const TIMER_DELAY_MAX_MS = 10 * 366 * 86_400_000;
const TIMER_PAYLOAD_MAX_BYTES = 64 * 1024;

function refuse(why: string): SirsiError {
  return new SirsiError("GUEST_PROTOCOL", `the guest emitted ${why}`);
}

function shown(text: string): string {
  return JSON.stringify(text.slice(0, 60));
}

/** Null for a preview, which `onPartial` has had. Throws GUEST_PROTOCOL. The effect holds views of `bytes`. */
export function readEmit(bytes: Uint8Array, onPartial: ((content: string) => void) | null): Effect | null {
  const emit = decodeGuestEmit(bytes);
  switch (emit.case) {
    case "partial":
      onPartial?.(emit.value.content);
      return null;
    case "event":
      return readEvent(emit.value);
    case "message": {
      const { agentId, message } = emit.value;
      if (message === undefined || agentId === "") throw refuse("a message without a receiver or without content");
      return { kind: "message", agentId, message };
    }
    case "timer":
    case "cancelTimer":
      return readTimer(emit);
    case "document":
      return { kind: "document", key: requireKey(emit.value.key), bytes: emit.value.content };
    case "deleteDocument":
      return { kind: "document", key: requireKey(emit.value.key), bytes: null };
    case undefined:
      throw refuse("something that this host does not know; build the module with an SDK of this host's version");
  }
}

function readEvent({ eventType, topic, payload, attributes }: EmitEvent): Effect {
  if (!EVENT_TYPE.test(eventType) || eventType.length > NAME_MAX_CHARS) {
    throw refuse(`an event of type ${shown(eventType)}; types are lower-case words, dots and underscores, at most ${NAME_MAX_CHARS} characters`);
  }
  if (topic !== "" && (!TOPIC.test(topic) || topic.length > NAME_MAX_CHARS)) {
    throw refuse(`an event on topic ${shown(topic)}; topics are words of letters, digits, - and _ joined by dots, without wildcards`);
  }
  if (Object.keys(attributes).length > ATTRIBUTES_MAX) throw refuse(`an event with more than ${ATTRIBUTES_MAX} attributes`);
  return { kind: "event", eventType, topic, payload, attributes };
}

function readTimer(emit: Extract<GuestEmit["emit"], { case: "timer" | "cancelTimer" }>): Effect {
  const { timerId } = emit.value;
  if (!TIMER_ID.test(timerId)) throw refuse(`a timer with the id ${shown(timerId)}; ids are 1 to 128 visible ASCII characters`);
  if (emit.case === "cancelTimer") return { kind: "cancel_timer", timerId };
  const { payload } = emit.value;
  const delayMs = Number(emit.value.delayMs);
  if (delayMs < 0 || delayMs > TIMER_DELAY_MAX_MS) throw refuse(`the timer ${shown(timerId)} with a delay of ${delayMs} ms; delays are 0 to ${TIMER_DELAY_MAX_MS} ms (ten years)`);
  if (payload.length > TIMER_PAYLOAD_MAX_BYTES) throw refuse(`the timer ${shown(timerId)} with a payload of ${payload.length} bytes; payloads have at most ${TIMER_PAYLOAD_MAX_BYTES}: keep more in a document`);
  return { kind: "set_timer", timerId, delayMs, payload };
}

function requireKey(key: string): string {
  const fault = documentKeyFault(key);
  if (fault === "") return key;
  throw refuse(`a document with the key ${shown(key)}, which ${fault}; for example: reports/2026.json`);
}

/** What an agent may do besides answering. */
export interface EffectPolicy {
  readonly grants: readonly HostCapability[];
  /** False for modules of durability "none": nothing of theirs is kept, so nothing may be due later or be written. */
  readonly durable: boolean;
}

/** Throws CAPABILITY_DENIED, or GUEST_PROTOCOL. */
function requireAllowed(effect: Effect, policy: EffectPolicy): void {
  if (effect.kind === "event" || effect.kind === "message") return;
  const what = effect.kind === "document" ? "documents" : "timers";
  requireGrant(what, policy);
  if (policy.durable) return;
  throw refuse(`a change of its ${what}, but its module has durability "none" and commits nothing that they could belong to; give the module durability "wait" or "message"`);
}

const NOTHING: readonly never[] = [];

/** What a step has emitted, in order. */
export class StepEffects {
  /** Those of no emit at all: most steps. */
  static readonly none: StepEffects = new StepEffects();
  readonly #effects: Effect[] = [];
  /** Emits as the guest sent them, one for each effect. */
  readonly #emits: Uint8Array[] = [];
  #writes: Map<string, Uint8Array | null> | null = null;

  get size(): number {
    return this.#effects.length;
  }

  /** Copies, for a store: previews are not among them. */
  get emits(): readonly Uint8Array[] {
    return this.#emits;
  }

  /** What the step has written to documents; null for nothing. */
  get writes(): DocumentWrites | null {
    return this.#writes;
  }

  /** Reads further emits; the bytes are copied, previews go out at once. Throws as readEmit does, and CAPABILITY_DENIED. */
  add(emits: readonly Uint8Array[], policy: EffectPolicy, onPartial: ((content: string) => void) | null): void {
    for (const emit of emits) {
      const bytes = emit.slice();
      const effect = readEmit(bytes, onPartial);
      if (effect === null) continue;
      requireAllowed(effect, policy);
      this.#effects.push(effect);
      this.#emits.push(bytes);
      if (effect.kind !== "document") continue;
      this.#writes ??= new Map();
      this.#writes.set(effect.key, effect.bytes);
    }
  }

  outgoing(): OutgoingEffect[] {
    return this.#effects.filter((effect) => effect.kind === "event" || effect.kind === "message");
  }

  outbox(now: number): readonly OutboxEntry[] {
    if (this.#effects.length === 0) return NOTHING;
    const entries: OutboxEntry[] = [];
    for (const [at, effect] of this.#effects.entries()) {
      const body = this.#emits[at] as Uint8Array;
      if (effect.kind === "message") entries.push({ kind: "message", target: effect.agentId, body, createdAt: now });
      else if (effect.kind === "event") entries.push({ kind: "event", target: effect.topic, body, createdAt: now });
    }
    return entries;
  }

  /** Delays count from the step's end. */
  timers(now: number): readonly TimerChange[] {
    if (this.#effects.length === 0) return NOTHING;
    const changes: TimerChange[] = [];
    for (const effect of this.#effects) {
      if (effect.kind === "set_timer") changes.push({ kind: "set", timerId: effect.timerId, dueAt: now + effect.delayMs, payload: effect.payload });
      else if (effect.kind === "cancel_timer") changes.push({ kind: "cancel", timerId: effect.timerId });
    }
    return changes;
  }

  /** The last one of each key. */
  documents(): readonly DocumentChange[] {
    return this.#writes === null ? NOTHING : Array.from(this.#writes, ([key, bytes]) => ({ key, bytes }));
  }
}
