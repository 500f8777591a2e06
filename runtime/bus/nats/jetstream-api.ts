/** JetStream's requests and answers, over the bus, so that they settle as its requests do (N1). */
import type { ApiError, ConsumerConfig, ConsumerInfo, StreamConfig, StreamInfo } from "nats";
import { SirsiError } from "../../core/errors.ts";
import type { Bus } from "../bus.ts";
import type { StreamEntry } from "../event-stream.ts";

const PREFIX = "$JS.API";
const TIMEOUT_MS = 5_000;

/** Codes of the server's errors, from its published table. */
export const JS = {
  noSuitablePeers: 10_005,
  temporarilyUnavailable: 10_008,
  insufficientResources: 10_023,
  accountStreams: 10_026,
  accountStorage: 10_028,
  messageNotFound: 10_037,
  notEnabledForAccount: 10_039,
  insufficientStorage: 10_047,
  nameInUse: 10_058,
  streamNotFound: 10_059,
  subjectsOverlap: 10_065,
  noReplicasOutsideOfCluster: 10_074,
  notEnabled: 10_076,
} as const;

export interface ApiFault {
  /** Of JS, as far as it is one that matters here. */
  readonly code: number;
  readonly description: string;
}

export type ApiOutcome<Answer> = { readonly kind: "answer"; readonly answer: Answer } | { readonly kind: "fault"; readonly fault: ApiFault };

interface StoredMessage {
  readonly message: { readonly seq: number; readonly data?: string };
}

export class JetStreamApi {
  readonly #bus: Pick<Bus, "request">;

  constructor(bus: Pick<Bus, "request">) {
    this.#bus = bus;
  }

  /** With the number of messages of `subject` in the state's `subjects`. */
  streamInfo(stream: string, subject?: string): Promise<ApiOutcome<StreamInfo>> {
    return this.#call(`STREAM.INFO.${stream}`, subject === undefined ? {} : { subjects_filter: subject });
  }

  createStream(config: Partial<StreamConfig> & { readonly name: string }): Promise<ApiOutcome<StreamInfo>> {
    return this.#call(`STREAM.CREATE.${config.name}`, config);
  }

  /** Names of the streams that take something of what the pattern selects. */
  streamsOf(pattern: string): Promise<ApiOutcome<{ readonly streams: readonly string[] | null }>> {
    return this.#call("STREAM.NAMES", { subject: pattern });
  }

  purge(stream: string, subject: string): Promise<ApiOutcome<object>> {
    return this.#call(`STREAM.PURGE.${stream}`, { filter: subject });
  }

  createConsumer(stream: string, config: Partial<ConsumerConfig> & { readonly name: string; readonly filter_subject: string }): Promise<ApiOutcome<ConsumerInfo>> {
    return this.#call(`CONSUMER.CREATE.${stream}.${config.name}.${config.filter_subject}`, { stream_name: stream, config, action: "create" });
  }

  /** The newest message of a subject; null when there is none. */
  newestOf(stream: string, subject: string): Promise<StreamEntry | null> {
    return this.#message(stream, { last_by_subj: subject });
  }

  /** The first one of a subject from a sequence on; null when there is none. */
  firstFrom(stream: string, subject: string, sequence: number): Promise<StreamEntry | null> {
    return this.#message(stream, { seq: sequence, next_by_subj: subject });
  }

  async #message(stream: string, which: object): Promise<StreamEntry | null> {
    const outcome = await this.#call<StoredMessage>(`STREAM.MSG.GET.${stream}`, which);
    if (outcome.kind === "fault") {
      if (outcome.fault.code === JS.messageNotFound) return null;
      throw apiFailure("read a message", outcome.fault);
    }
    const { seq, data } = outcome.answer.message;
    return { sequence: seq, data: new Uint8Array(Buffer.from(data ?? "", "base64")) };
  }

  async #call<Answer>(verb: string, body: object): Promise<ApiOutcome<Answer>> {
    const { data } = await this.#bus.request(`${PREFIX}.${verb}`, new TextEncoder().encode(JSON.stringify(body)), { timeoutMs: TIMEOUT_MS });
    let answer: Answer & { readonly error?: ApiError };
    try {
      answer = JSON.parse(new TextDecoder().decode(data)) as typeof answer;
    } catch (cause) {
      throw new SirsiError("INTERNAL", `What answers on ${PREFIX}.${verb} does not speak JSON, so it is not JetStream. Look at what listens there.`, { cause });
    }
    const { error } = answer;
    return error === undefined ? { kind: "answer", answer } : { kind: "fault", fault: { code: error.err_code ?? error.code, description: error.description } };
  }
}

/** A fault that may pass. */
export function apiFailure(what: string, { description, code }: ApiFault): SirsiError {
  return new SirsiError("BUS_UNAVAILABLE", `JetStream could not ${what}: ${description} (${code}). Try again, or look at the NATS server's log.`);
}
