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
}

export interface Capabilities {
  /** Never rejects. */
  perform(request: Uint8Array, asker: Asker): Promise<Uint8Array>;
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
}

type Request = Exclude<GuestRequest["request"], { case: undefined }>;

export function openCapabilities(config: CapabilityConfig): Capabilities {
  const handle = async (request: Request, asker: Asker, deadline: number): Promise<Uint8Array> => {
    requireGrant(request.case, asker);
    switch (request.case) {
      case "ask": {
        const { agentId, message } = request.value;
        if (message === undefined) throw new SirsiError("INVALID_ARGUMENT", "ask needs a message");
        const value = await config.ask({ agentId, message, deadline }, asker);
        return encodeGuestResponse({ case: "ask", value });
      }
      case "sleep":
        await sleep(config.clock, Number(request.value.durationMs), deadline, asker.signal);
        return encodeGuestResponse({ case: "sleep", value: {} });
    }
  };
  return {
    async perform(bytes, asker) {
      try {
        const { request, timeoutMs } = decodeGuestRequest(bytes);
        if (request.case === undefined) throw new SirsiError("CAPABILITY_DENIED", "the guest asked for a capability that this host does not know; build the module with an SDK of this host's version");
        const own = timeoutMs > 0 ? config.clock.monotonic() + timeoutMs : Infinity;
        return await handle(request, asker, Math.min(own, asker.deadline));
      } catch (thrown) {
        return encodeGuestFailure(SirsiError.from(thrown));
      }
    },
  };
}

function requireGrant(name: HostCapability, asker: Asker): void {
  if (asker.grants.includes(name)) return;
  throw new SirsiError("CAPABILITY_DENIED", `the module was not granted ${name}; list it under requests in its manifest, and have an operator grant it`, { metadata: { capability: name } });
}

function sleep(clock: Clock, durationMs: number, deadline: number, signal: AbortSignal): Promise<void> {
  const left = deadline - clock.monotonic();
  if (!(durationMs >= 0)) return Promise.reject(new SirsiError("INVALID_ARGUMENT", "sleep needs a duration of 0 ms or more"));
  if (durationMs > left) return Promise.reject(new SirsiError("DEADLINE_EXCEEDED", `a sleep of ${durationMs} ms would end after the step's deadline, ${Math.max(0, Math.round(left))} ms away; sleep less, or allow the step more time`));
  return new Promise((resolve, reject) => {
    const abort = () => {
      timer.cancel();
      reject(new SirsiError("CANCELLED", "the step was given up while it slept"));
    };
    const timer = clock.after(durationMs, () => {
      signal.removeEventListener("abort", abort);
      resolve();
    });
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort, { once: true });
  });
}
