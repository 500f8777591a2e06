/**
 * An agent's state at one of its commits, rebuilt in an instance of its own.
 *
 * The instance is nobody's: it is opened from bytes of the store, answers what it is
 * asked, and is closed. Its requests are never performed, its emits never leave, and
 * nothing of it is committed; the agent itself is not touched.
 */
import { decodeGuestResult, encodeGuestCall } from "../../contract/guest-codec.ts";
import { SirsiError } from "../../core/errors.ts";
import type { Revision } from "../../module/revision.ts";
import { type InstanceHandle, lostError } from "../../sandbox/index.ts";
import type { StateChain } from "../../store/store.ts";
import { fromGuestError } from "../../agent/guest-error.ts";
import { type OperatorDeps, storedAgent } from "./operator-deps.ts";

/** Each is a live instance, up to a module's whole memory limit. */
const AT_ONCE = 4;
const BUSY_RETRY_MS = 500;

export interface Rebuilt {
  readonly chain: StateChain;
  readonly revision: Revision;
  readonly handle: InstanceHandle;
  /** In the middle of a step that waits: it can be looked at, and not called. */
  readonly suspended: boolean;
}

export interface Saved {
  readonly schema: number;
  readonly state: Uint8Array;
}

export type ScratchDeps = Pick<OperatorDeps, "pool" | "revisions"> & { readonly store: Pick<OperatorDeps["store"], "getAgent" | "getState" | "listCommits"> };

export class Scratch {
  readonly #deps: ScratchDeps;
  #open = 0;

  constructor(deps: ScratchDeps) {
    this.#deps = deps;
  }

  /**
   * Lends the state after commit `atSequence`, or the newest, to `use`. STATE_NOT_KEPT,
   * AGENT_NOT_FOUND, OVERLOADED, STORE_CORRUPT, and what `use` throws.
   */
  async at<T>(agentId: string, atSequence: number | null, use: (rebuilt: Rebuilt) => Promise<T>): Promise<T> {
    if (this.#open >= AT_ONCE) {
      throw new SirsiError("OVERLOADED", `this host rebuilds ${AT_ONCE} states already, as many as it does at once; ask again when one is done`, { retryAfterMs: BUSY_RETRY_MS });
    }
    this.#open++;
    try {
      const chain = await this.#chain(agentId, atSequence);
      return await this.#opened(agentId, chain, use);
    } finally {
      this.#open--;
    }
  }

  /** After a commit that wrote no state, the agent's is the one before. */
  async #chain(agentId: string, atSequence: number | null): Promise<StateChain> {
    const { store } = this.#deps;
    const chain = await store.getState(agentId, atSequence);
    if (chain !== null && atSequence === null) return chain;
    const { commitSequence } = await storedAgent(store, agentId);
    if (chain === null || (atSequence !== null && atSequence > commitSequence)) throw notKept(agentId, atSequence, commitSequence);
    // A wait that the commit asked for is not the end of is over by then.
    return chain.commitSequence === atSequence ? chain : { ...chain, wait: null };
  }

  async #opened<T>(agentId: string, chain: StateChain, use: (rebuilt: Rebuilt) => Promise<T>): Promise<T> {
    const { revisions, pool } = this.#deps;
    revisions.retain(chain.digest);
    const images = [chain.base, ...chain.differences, ...(chain.wait === null ? [] : [chain.wait.image])];
    let handle: InstanceHandle | null = null;
    try {
      const revision = await this.#revisionOf(agentId, chain);
      const instance = pool.open(revision, images, `copy-of-${agentId}`);
      handle = instance.handle;
      const outcome = await instance.opened;
      if (outcome.kind === "failed") throw SirsiError.revive(outcome.error);
      if (outcome.kind === "lost") throw lostError(outcome);
      return await use({ chain, revision, handle, suspended: outcome.suspended });
    } finally {
      handle?.close();
      revisions.release(chain.digest);
    }
  }

  /** A state at rest opens in any preparer's code, a suspended stack only in that which unwound it. */
  async #revisionOf(agentId: string, { digest, wait, commitSequence }: StateChain): Promise<Revision> {
    const { revisions } = this.#deps;
    if (wait === null) return await revisions.revisionByDigest(digest);
    const revision = await revisions.revisionPreparedBy(digest, wait.preparation);
    if (revision !== null) return revision;
    throw new SirsiError(
      "STATE_NOT_KEPT",
      `agent ${agentId} was in the middle of a wait at commit ${commitSequence}, in code of the preparation ${wait.preparation}, which this host no longer has; look at a commit of another kind than wait`,
      { metadata: { agent_id: agentId } },
    );
  }
}

/** What save() says of a state at rest; the instance is of no further use. Throws why it said nothing. */
export async function saveOf({ handle, revision }: Rebuilt): Promise<Saved> {
  const { stepTimeoutMs, fuelPerStep, stateMaxBytes } = revision.limits;
  const call = encodeGuestCall({ case: "save", value: { $typeName: "sirsi.agent.v1.SaveCall" } });
  const outcome = await handle.step(call, { timeoutMs: stepTimeoutMs, fuel: fuelPerStep, state: "none", stateAtWait: false });
  switch (outcome.kind) {
    case "failed":
      throw SirsiError.revive(outcome.error);
    case "lost":
      throw lostError(outcome);
    case "waiting":
      throw new SirsiError("GUEST_PROTOCOL", "save() asked the host for something and waits; a copy of an agent gets no answers");
    case "done":
  }
  const result = decodeGuestResult(outcome.result);
  if (result.case === "error") throw fromGuestError(result.value);
  if (result.case !== "save") throw new SirsiError("GUEST_PROTOCOL", `the guest answered save with ${result.case ?? "nothing"}`);
  const { schema, state } = result.value;
  if (state.length > stateMaxBytes) throw new SirsiError("GUEST_LIMIT", `save() gave ${state.length} bytes, more than the ${stateMaxBytes} it may (state_max_bytes)`);
  return { schema, state };
}

function notKept(agentId: string, atSequence: number | null, newest: number): SirsiError {
  const metadata = { agent_id: agentId, newest_sequence: String(newest) };
  if (atSequence === null) return new SirsiError("STATE_NOT_KEPT", `no state of agent ${agentId} is kept: its module's durability is "none", or it has ended; what cannot be kept cannot be looked back at`, { metadata });
  if (atSequence > newest) return new SirsiError("STATE_NOT_KEPT", `agent ${agentId} has made ${newest} commits and none with the sequence ${atSequence}; list them with \`sirsi agent history\``, { metadata });
  return new SirsiError("STATE_NOT_KEPT", `the state of agent ${agentId} at commit ${atSequence} is no longer kept; list those that are with \`sirsi agent history\`, and raise durability.history_commits to keep more`, { metadata });
}
