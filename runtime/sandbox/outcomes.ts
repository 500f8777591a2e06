/** What is asked of an instance, and how it ends. */
import type { PlainError } from "../core/errors.ts";
import type { MemoryRange } from "./shadow.ts";

/** What one step may use. A resumed step gets what is left of it. */
export interface StepBudget {
  /** Milliseconds from now. */
  readonly timeoutMs: number;
  readonly fuel: number;
  /** What to take of the agent's state when the step ends well. */
  readonly state: "none" | "difference" | "base";
  /** Take it at each wait, too: as a difference to the last state at rest. */
  readonly stateAtWait: boolean;
}

/**
 * A state taken is the one that the next difference follows: it is to be committed
 * before that one is, or the instance to be dropped.
 */
export interface TakenState {
  /** A base also when a difference was asked for and the instance has none to follow. */
  readonly kind: "base" | "difference";
  readonly image: Uint8Array;
}

export interface DoneOutcome {
  readonly kind: "done";
  /** A serialized GuestResult, not yet decoded by anybody. */
  readonly result: Uint8Array;
  /** Serialized GuestEmits since the last outcome, in order. */
  readonly emits: readonly Uint8Array[];
  readonly state: TakenState | null;
  /** By the whole step so far, waits before a restart included. */
  readonly fuelUsed: number;
  readonly memoryBytes: number;
}

export interface WaitingOutcome {
  readonly kind: "waiting";
  /** A serialized GuestRequest. */
  readonly request: Uint8Array;
  readonly emits: readonly Uint8Array[];
  /** A wait image. Null when none was asked for, or the instance has no state at rest that it could follow: it is in its init. */
  readonly state: Uint8Array | null;
  readonly fuelUsed: number;
  readonly fuelLeft: number;
  readonly memoryBytes: number;
}

export interface FailedOutcome {
  readonly kind: "failed";
  readonly error: PlainError;
  readonly fuelUsed: number;
}

export type StepOutcome = DoneOutcome | WaitingOutcome | FailedOutcome;

/** `suspended`: the last of its images was a wait, and it wants `resume`. */
export type OpenOutcome = { readonly kind: "opened"; readonly memoryBytes: number; readonly suspended: boolean } | FailedOutcome;

/** `image` is a base. */
export type StateOutcome = { readonly kind: "state"; readonly image: Uint8Array } | FailedOutcome;

export interface DescribedGlobal {
  /** "g0", "g1", … in the module's own order. */
  readonly name: string;
  readonly type: string;
  /** In decimal. */
  readonly value: string;
}

export interface Description {
  readonly memoryBytes: number;
  /** Where memory differs from the image that all agents of the revision begin with, by blocks, in order. */
  readonly touched: readonly MemoryRange[];
  readonly globals: readonly DescribedGlobal[];
  readonly suspended: boolean;
}

export type DescribeOutcome = ({ readonly kind: "described" } & Description) | FailedOutcome;

export type Outcome = StepOutcome | OpenOutcome | StateOutcome | DescribeOutcome;
