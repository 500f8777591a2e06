/**
 * What guests may ask of the host, behind one door. A request is refused unless the
 * revision holds the grant; every answer, a refusal too, is a serialized GuestResponse,
 * so a guest always gets a value.
 */
import { encodeGuestFailure, encodeGuestResponse, decodeGuestRequest } from "../contract/guest-codec.ts";
import type { GuestRequest, MessageResult } from "../contract/gen/sirsi/agent/v1/guest_pb.ts";
import type { Message } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import type { Clock } from "../core/clock.ts";
import { SirsiError } from "../core/errors.ts";
import type { HostCapability } from "../module/revision.ts";
import type { Store } from "../store/store.ts";
import { type DocumentWrites, listDocuments, readDocument } from "./documents.ts";

/** On whose behalf a request is made. */
export interface Asker {
  readonly agentId: string;
  readonly sessionId: string;
  readonly grants: readonly HostCapability[];
  /** The end of the asker's step, on the monotonic clock. */
  readonly deadline: number;
  /** Aborted when the step is given up. */
  readonly signal: AbortSignal;
  /** Names this request for good: the same step makes the same key. */
  readonly idempotencyKey: string;
  readonly traceparent: string;
  /** How long the request has been under way already: more than 0 when the host stopped in the middle of it. */
  readonly waitedMs: number;
  /** Documents that the step has written so far; null for none. */
  readonly writes: DocumentWrites | null;
}

export interface Capabilities {
  /** Never rejects. */
  perform(request: Uint8Array, asker: Asker): Promise<Uint8Array>;
  traitsOf(request: Uint8Array): RequestTraits;
}

export interface AskTarget {
  readonly agentId: string;
  readonly message: Message;
  readonly deadline: number;
}

export interface CapabilityConfig {
  readonly clock: Clock;
  /** Delivers a message to another agent of the asker's session and waits for its reply. */
  readonly ask: (target: AskTarget, asker: Asker) => Promise<MessageResult>;
  readonly documents: Pick<Store, "getDocument" | "listDocuments">;
}

type Request = Exclude<GuestRequest["request"], { case: undefined }>;

/** How a request stands to the end of the process in the middle of it. */
export interface RequestTraits {
  /** It may be made again under the same key, though it may have taken effect: it then has no second one. */
  readonly repeatable: boolean;
  /** It only reads what the host has at hand: the step may as well begin again before it, so it is no place to commit at. */
  readonly reading: boolean;
}

const TRAITS: { readonly [Case in Request["case"]]: RequestTraits } = {
  // The asked agent knows the message by its id, which is made of the key (D2).
  ask: { repeatable: true, reading: false },
  // It goes on to its original end.
  sleep: { repeatable: true, reading: false },
  getDocument: { repeatable: true, reading: true },
  listDocuments: { repeatable: true, reading: true },
};

/** One that cannot be read or is not known gets a refusal, and may get it again. */
const REFUSED: RequestTraits = { repeatable: true, reading: true };

function traitsOf(request: Uint8Array): RequestTraits {
  try {
    const { case: name } = decodeGuestRequest(request).request;
    return name === undefined ? REFUSED : TRAITS[name];
  } catch {
    return REFUSED;
  }
}

export function openCapabilities(config: CapabilityConfig): Capabilities {
  const { clock, documents } = config;
  const handle = async (request: Request, asker: Asker, deadline: number): Promise<Uint8Array> => {
    switch (request.case) {
      case "ask": {
        requireGrant("ask", asker);
        requireTime(clock, deadline, "ask");
        const { agentId, message } = request.value;
        if (message === undefined) throw new SirsiError("INVALID_ARGUMENT", "ask needs a message");
        const value = await config.ask({ agentId, message, deadline }, asker);
        return encodeGuestResponse({ case: "ask", value });
      }
      case "sleep":
        requireGrant("sleep", asker);
        await sleep(clock, Number(request.value.durationMs), deadline, asker);
        return encodeGuestResponse({ case: "sleep", value: {} });
      case "getDocument":
        requireGrant("documents", asker);
        return encodeGuestResponse({ case: "getDocument", value: await readDocument(documents, asker.sessionId, asker.writes, request.value) });
      case "listDocuments":
        requireGrant("documents", asker);
        return encodeGuestResponse({ case: "listDocuments", value: await listDocuments(documents, asker.sessionId, asker.writes, request.value) });
    }
  };
  return {
    traitsOf,
    async perform(bytes, asker) {
      try {
        const { request, timeoutMs } = decodeGuestRequest(bytes);
        if (request.case === undefined) throw new SirsiError("CAPABILITY_DENIED", "the guest asked for a capability that this host does not know; build the module with an SDK of this host's version");
        const own = timeoutMs > 0 ? clock.monotonic() + timeoutMs - asker.waitedMs : Infinity;
        return await handle(request, asker, Math.min(own, asker.deadline));
      } catch (thrown) {
        return encodeGuestFailure(SirsiError.from(thrown));
      }
    },
  };
}

/** Throws CAPABILITY_DENIED. */
export function requireGrant(name: HostCapability, { grants }: Pick<Asker, "grants">): void {
  if (grants.includes(name)) return;
  throw new SirsiError("CAPABILITY_DENIED", `the module was not granted ${name}; list it under requests in its manifest, and have an operator grant it`, { metadata: { capability: name } });
}

/** A request that is made again after its time gets what it would have got by then. */
function requireTime(clock: Clock, deadline: number, what: string): void {
  if (deadline > clock.monotonic()) return;
  throw new SirsiError("DEADLINE_EXCEEDED", `the time for this ${what} was over before it was made; allow it more time`);
}

function sleep(clock: Clock, durationMs: number, deadline: number, { signal, waitedMs }: Asker): Promise<void> {
  if (!(durationMs >= 0)) return Promise.reject(new SirsiError("INVALID_ARGUMENT", "sleep needs a duration of 0 ms or more"));
  const rest = durationMs - waitedMs;
  if (waitedMs > 0 && rest <= 0) return Promise.resolve();
  const left = deadline - clock.monotonic();
  // What is left of one that was begun in another life ended within that life's deadline.
  if (waitedMs === 0 && durationMs > left) {
    return Promise.reject(new SirsiError("DEADLINE_EXCEEDED", `a sleep of ${durationMs} ms would end after the step's deadline, ${Math.max(0, Math.round(left))} ms away; sleep less, or allow the step more time`));
  }
  return new Promise((resolve, reject) => {
    const abort = () => {
      timer.cancel();
      reject(new SirsiError("CANCELLED", "the step was given up while it slept"));
    };
    const timer = clock.after(rest, () => {
      signal.removeEventListener("abort", abort);
      resolve();
    });
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort, { once: true });
  });
}
