/**
 * Questions to other hosts, over the bus.
 *
 * Invariants
 * - K1 Every question settles: with an answer, with the other host's error, or with
 *   AGENT_FENCED when that host is not there (any more). A host that dies or is buried
 *   fails what it was asked at once, and not when the question's time is over.
 * - K2 The bus may lose questions and answers. Those that are harmless to repeat are asked
 *   again, under the same ids, while they have time; so nobody waits for a lost answer.
 */
import { type MessageInitShape, create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { Bus } from "../bus/bus.ts";
import { type HostAnswer, HostAnswerSchema, HostQuestionSchema } from "../contract/gen/sirsi/fleet/v1/fleet_pb.ts";
import type { Clock } from "../core/clock.ts";
import { SirsiError } from "../core/errors.ts";
import { newId } from "../core/ids.ts";
import type { Fleet } from "./fleet.ts";
import { errorOfHost } from "./host-error.ts";

export type Question = NonNullable<MessageInitShape<typeof HostQuestionSchema>["question"]>;
export type Answer = HostAnswer["answer"];

export interface AskOptions {
  /** When the asker stops waiting, on the steady clock; null: the other host has a limit of its own. */
  readonly deadline: number | null;
  readonly signal?: AbortSignal | null;
  readonly traceparent?: string;
  /** K2. */
  readonly repeatable: boolean;
}

export interface HostLinkConfig {
  readonly clock: Clock;
  readonly bus: Bus;
  readonly prefix: string;
  readonly fleet: Fleet;
}

/** How long an answer is waited for before the question is asked again. */
const REPEAT_MS = 5_000;
const LONGEST_MS = 3_600_000;

export function controlSubject(prefix: string, hostId: string): string {
  return `${prefix}.host.${hostId}.control`;
}

export function cancelSubject(prefix: string, hostId: string): string {
  return `${prefix}.host.${hostId}.cancel`;
}

interface Pending {
  readonly hostId: string;
  readonly stop: AbortController;
}

export class HostLink {
  readonly #config: HostLinkConfig;
  readonly #pending = new Set<Pending>();
  readonly #stopListening: () => void;

  constructor(config: HostLinkConfig) {
    this.#config = config;
    this.#stopListening = config.fleet.onChange(() => this.#dropTheDead());
  }

  /** The answer's one part. Throws what the other host threw; AGENT_FENCED when it is gone. */
  async ask(hostId: string, question: Question, options: AskOptions): Promise<Answer> {
    if (this.#config.fleet.host(hostId) === null) throw hostGone(hostId);
    const pending: Pending = { hostId, stop: new AbortController() };
    this.#pending.add(pending);
    const cancelToken = options.signal === null || options.signal === undefined ? "" : newId(this.#config.clock.now());
    const cancel = (): void => {
      pending.stop.abort();
      if (cancelToken !== "") this.#tellCancelled(hostId, cancelToken);
    };
    if (options.signal?.aborted === true) cancel();
    options.signal?.addEventListener("abort", cancel, { once: true });
    try {
      return await this.#askUntilAnswered(pending, question, cancelToken, options);
    } finally {
      options.signal?.removeEventListener("abort", cancel);
      this.#pending.delete(pending);
    }
  }

  async #askUntilAnswered(pending: Pending, question: Question, cancelToken: string, options: AskOptions): Promise<Answer> {
    const { clock, fleet } = this.#config;
    for (;;) {
      const left = options.deadline === null ? LONGEST_MS : Math.max(1, options.deadline - clock.monotonic());
      const timeoutMs = options.deadline === null ? 0n : BigInt(Math.ceil(left));
      const asked = create(HostQuestionSchema, { fromHostId: fleet.self.hostId, timeoutMs, traceparent: options.traceparent ?? "", cancelToken, question });
      const reply = await this.#request(pending, toBinary(HostQuestionSchema, asked), options, left);
      if (reply === null) continue;
      const { error, answer } = fromBinary(HostAnswerSchema, reply);
      if (error !== undefined) throw errorOfHost(error);
      return answer;
    }
  }

  /** Null: there was no answer, and the question may be asked again. */
  async #request({ hostId, stop }: Pending, question: Uint8Array, { deadline, repeatable, signal }: AskOptions, left: number): Promise<Uint8Array | null> {
    const { bus, clock, prefix } = this.#config;
    try {
      const timeoutMs = repeatable ? Math.min(left, REPEAT_MS) : left;
      return (await bus.request(controlSubject(prefix, hostId), question, { timeoutMs, signal: stop.signal })).data;
    } catch (thrown) {
      const error = SirsiError.from(thrown);
      if (signal?.aborted === true) throw new SirsiError("CANCELLED", "the caller gave the request up");
      if (stop.signal.aborted || error.code === "BUS_NO_RESPONDERS") throw hostGone(hostId);
      if (error.code === "DEADLINE_EXCEEDED" && repeatable && (deadline === null || clock.monotonic() < deadline)) return null;
      throw error;
    }
  }

  #tellCancelled(hostId: string, token: string): void {
    const { bus, prefix } = this.#config;
    try {
      bus.publish(cancelSubject(prefix, hostId), new TextEncoder().encode(token));
    } catch {
      // The other host goes on, and its answer is for nobody.
    }
  }

  /** K1. */
  #dropTheDead(): void {
    for (const { hostId, stop } of this.#pending) if (this.#config.fleet.host(hostId) === null) stop.abort();
  }

  close(): void {
    this.#stopListening();
    for (const { stop } of this.#pending) stop.abort();
  }
}

export function hostGone(hostId: string): SirsiError {
  return new SirsiError("AGENT_FENCED", `host ${hostId} is not there any more; its agents go on elsewhere, send again`, { retryAfterMs: 250 });
}
