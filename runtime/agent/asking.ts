/**
 * The `ask` capability: one agent waits for another's reply.
 *
 * Invariant G2: an agent that asks waits for at most one other; a circle of waits is
 * refused when it would close (ASK_CYCLE), not found out by a deadline (ask-graph.ts).
 */
import { hash } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import type { Asker, AskTarget } from "../capability/index.ts";
import { type Message, MessageMetricsSchema, Priority } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import type { MessageResult } from "../contract/gen/sirsi/agent/v1/guest_pb.ts";
import type { Clock } from "../core/clock.ts";
import { SirsiError } from "../core/errors.ts";
import { isMessageId } from "../core/ids.ts";
import type { Delivery, Reply } from "./agents.ts";
import { AskGraph } from "./ask-graph.ts";

export interface AskingConfig {
  readonly clock: Clock;
  /** Sends to an agent of this session, wherever it is. AGENT_NOT_FOUND. */
  readonly send: (agentId: string, sessionId: string, delivery: Delivery) => Promise<Reply>;
  /** Agents of other hosts ask, and are asked. */
  readonly shared: boolean;
}

export class Asking {
  readonly #config: AskingConfig;
  readonly #graph: AskGraph;

  constructor(config: AskingConfig) {
    this.#config = config;
    this.#graph = new AskGraph(config.shared);
  }

  async ask(target: AskTarget, asker: Asker): Promise<MessageResult> {
    const { clock, send, shared } = this.#config;
    const waits = this.#graph.begin(asker.agentId, target.agentId);
    try {
      const delivery = deliveryOf(target, asker);
      const asked = shared ? { ...delivery, askedBy: this.#graph.waitersOf(asker.agentId) } : delivery;
      const reply = await settledInTime(send(target.agentId, asker.sessionId, asked), target, asker.signal, clock);
      return { $typeName: "sirsi.agent.v1.MessageResult", response: reply.response, suggestions: [...reply.suggestions], metrics: create(MessageMetricsSchema, reply.metrics) };
    } finally {
      this.#graph.end(waits);
    }
  }

  /** What another host brought for an agent here; `askedBy` wait for its answer there. ASK_CYCLE. */
  async answer<T>(agentId: string, askedBy: readonly string[], act: () => Promise<T>): Promise<T> {
    if (askedBy.length === 0) return await act();
    const end = this.#graph.beginFar(askedBy, agentId);
    try {
      return await act();
    } finally {
      end();
    }
  }
}

function deliveryOf(target: AskTarget, asker: Asker): Delivery {
  const message: Message = { ...target.message };
  // The same step asks under the same id, so a step that is run again asks only once.
  if (!isMessageId(message.messageId)) message.messageId = `ask-${hash("sha1", `${asker.agentId}/${asker.idempotencyKey}`, "hex")}`;
  return {
    message,
    context: {},
    priority: Priority.NORMAL,
    sourceAgentId: asker.agentId,
    deadline: target.deadline,
    signal: asker.signal,
    traceparent: asker.traceparent,
    onPartial: null,
    outboxKey: null,
    deadLetterId: null,
  };
}

/** An answer, or the end of waiting for it: the asked agent may have longer work in hand. */
function settledInTime<T>(promise: Promise<T>, target: AskTarget, signal: AbortSignal, clock: Clock): Promise<T> {
  return new Promise((resolve, reject) => {
    const late = clock.after(target.deadline - clock.monotonic(), () => reject(new SirsiError("DEADLINE_EXCEEDED", `agent ${target.agentId} did not answer in time; allow it more, or ask again later`)));
    const abort = () => reject(new SirsiError("CANCELLED", "the step was given up while it waited for another agent"));
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => {
      late.cancel();
      signal.removeEventListener("abort", abort);
    });
  });
}
