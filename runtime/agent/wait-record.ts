/** A waiting step as it is kept (D4), and as work again. */
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Priority } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import { MessageCallSchema } from "../contract/gen/sirsi/agent/v1/guest_pb.ts";
import { type Wait, WaitingMessageSchema, WaitSchema } from "../contract/gen/sirsi/store/v1/wait_pb.ts";
import type { Clock } from "../core/clock.ts";
import { Deferred } from "../core/deferred.ts";
import { SirsiError } from "../core/errors.ts";
import type { WaitRecord } from "../store/store.ts";
import type { Delivery } from "./agents.ts";
import { messageHash } from "./conversation.ts";
import type { ResumableWork } from "./work.ts";

export interface WaitFacts {
  readonly emits: readonly Uint8Array[];
  readonly request: Uint8Array;
  /** From 1. */
  readonly requestNumber: number;
  readonly fuelLeft: number;
}

export function waitRecord(work: ResumableWork, facts: WaitFacts, clock: Clock): WaitRecord {
  const now = Math.floor(clock.now());
  const timeLeftMs = Math.max(0, Math.floor(work.deadline - clock.monotonic()));
  const body = create(WaitSchema, {
    work: waitingWork(work),
    emits: [...facts.emits],
    request: facts.request,
    requestNumber: facts.requestNumber,
    askedAt: BigInt(now),
    deadline: BigInt(now + timeLeftMs),
    timeLeftMs: BigInt(timeLeftMs),
    fuelLeft: BigInt(Math.max(0, Math.floor(facts.fuelLeft))),
  });
  const { message } = work.kind === "message" ? work.delivery : { message: null };
  return { messageId: message?.messageId ?? "", messageHash: message === null ? "" : messageHash(message), body: toBinary(WaitSchema, body) };
}

function waitingWork(work: ResumableWork): Wait["work"] {
  switch (work.kind) {
    case "message": {
      const { message, context, sourceAgentId, outboxKey, deadLetterId, traceparent } = work.delivery;
      const value = create(WaitingMessageSchema, {
        call: create(MessageCallSchema, { message, context: { ...context }, sourceAgentId }),
        deadLetterId: deadLetterId ?? "",
        traceparent,
        ...(outboxKey === null ? {} : { outboxPlace: { agentId: outboxKey.agentId, commitSequence: BigInt(outboxKey.commitSequence), index: outboxKey.index } }),
      });
      return { case: "message", value };
    }
    case "event":
      return { case: "event", value: work.event };
    case "timer":
      return { case: "timer", value: { $typeName: "sirsi.store.v1.WaitingTimer", timerId: work.timerId, dueAt: BigInt(work.dueAt), payload: work.payload } };
  }
}

/**
 * The work of a stored wait. Its deadline is the original one, on this process's clock:
 * what was left when it began to wait, less the time that has passed since. Throws STORE_CORRUPT.
 */
export function workOfWait(record: WaitRecord, clock: Clock): ResumableWork {
  const wait = readWait(record);
  const queuedAt = clock.monotonic();
  const left = Math.min(Number(wait.timeLeftMs), Number(wait.deadline) - clock.now());
  const queued = { wait, queuedAt, deadline: queuedAt + Math.max(0, left), signal: null };
  const { work } = wait;
  switch (work.case) {
    case "message":
      return { kind: "message", delivery: deliveryOf(work.value), reply: new Deferred(), ...queued };
    case "event":
      return { kind: "event", event: work.value, reply: new Deferred(), ...queued };
    case "timer":
      return { kind: "timer", timerId: work.value.timerId, dueAt: Number(work.value.dueAt), payload: work.value.payload, reply: new Deferred(), ...queued };
    case undefined:
      throw new SirsiError("STORE_CORRUPT", "a stored wait holds no work; the step is rolled back to its agent's last state at rest");
  }
}

function readWait({ body }: WaitRecord): Wait {
  try {
    return fromBinary(WaitSchema, body);
  } catch (thrown) {
    throw new SirsiError("STORE_CORRUPT", `a stored wait cannot be read: ${SirsiError.from(thrown).message}; the step is rolled back to its agent's last state at rest`, { cause: thrown });
  }
}

function deliveryOf({ call, outboxPlace, deadLetterId, traceparent }: Extract<Wait["work"], { case: "message" }>["value"]): Delivery {
  if (call?.message === undefined) throw new SirsiError("STORE_CORRUPT", "a stored wait holds no message; the step is rolled back to its agent's last state at rest");
  return {
    message: call.message,
    context: call.context,
    priority: Priority.NORMAL,
    sourceAgentId: call.sourceAgentId,
    deadline: null,
    signal: null,
    traceparent,
    onPartial: null,
    outboxKey: outboxPlace === undefined ? null : { agentId: outboxPlace.agentId, commitSequence: Number(outboxPlace.commitSequence), index: outboxPlace.index },
    deadLetterId: deadLetterId === "" ? null : deadLetterId,
  };
}

/** How long the wait's request has been under way. A clock that was set back makes it none. */
export function waitedMs({ askedAt }: Wait, clock: Clock): number {
  return Math.max(1, clock.now() - Number(askedAt));
}
