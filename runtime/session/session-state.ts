/**
 * The life of a session as a pure function.
 *
 *              extended                        grace over: its agents are ended
 *   ACTIVE ◀────────────┐        expired     ┌─────────┐
 *     ▲ └───────────────┴───────────────▶ EXPIRED ─────┘
 *     │ touched                 ended        │ ended       retention over
 *   SUSPENDED ──────────────────────────▶ TERMINATED ───────────────────▶ (removed)
 *
 * A suspended session is open but asleep: the next work wakes it. An expired one
 * refuses work at once; what its agents had begun may finish within the grace.
 */
import type { SessionStateName } from "../store/store.ts";

export type SessionEvent =
  /** Work arrived for it. */
  | "touched"
  | "extended"
  /** The clock passed expires_at. */
  | "expired"
  | "grace_over"
  /** Somebody deleted it. */
  | "ended"
  | "retention_over";

export type SessionEffect =
  | { readonly kind: "save" }
  | { readonly kind: "announce"; readonly type: "SESSION_EXTENDED" | "STATUS_CHANGED" }
  /** End its agents, say SESSION_ENDED, end its event stream. Repeatable. */
  | { readonly kind: "wind_down"; readonly reason: "expired" | "deleted" }
  /** Remove it from the store with all it owned. */
  | { readonly kind: "remove" }
  | { readonly kind: "refuse"; readonly code: "SESSION_EXPIRED" | "SESSION_TERMINATED" };

export type SessionStep = readonly [SessionStateName, readonly SessionEffect[]];

const SAVE: SessionEffect = { kind: "save" };
const REMOVE: SessionEffect = { kind: "remove" };
const CHANGED: SessionEffect = { kind: "announce", type: "STATUS_CHANGED" };
const EXTENDED: SessionEffect = { kind: "announce", type: "SESSION_EXTENDED" };
const WIND_DOWN_EXPIRED: SessionEffect = { kind: "wind_down", reason: "expired" };
const WIND_DOWN_DELETED: SessionEffect = { kind: "wind_down", reason: "deleted" };
const REFUSE_EXPIRED: SessionEffect = { kind: "refuse", code: "SESSION_EXPIRED" };
const REFUSE_TERMINATED: SessionEffect = { kind: "refuse", code: "SESSION_TERMINATED" };

type Row = Readonly<Record<SessionEvent, SessionStep>>;

const TABLE: Readonly<Record<SessionStateName, Row>> = {
  ACTIVE: {
    touched: ["ACTIVE", []],
    extended: ["ACTIVE", [SAVE, EXTENDED]],
    expired: ["EXPIRED", [SAVE, CHANGED]],
    grace_over: ["ACTIVE", []],
    ended: ["TERMINATED", [SAVE, WIND_DOWN_DELETED]],
    retention_over: ["ACTIVE", []],
  },
  SUSPENDED: {
    touched: ["ACTIVE", [SAVE, CHANGED]],
    extended: ["SUSPENDED", [SAVE, EXTENDED]],
    expired: ["EXPIRED", [SAVE, CHANGED]],
    grace_over: ["SUSPENDED", []],
    ended: ["TERMINATED", [SAVE, WIND_DOWN_DELETED]],
    retention_over: ["SUSPENDED", []],
  },
  EXPIRED: {
    touched: ["EXPIRED", [REFUSE_EXPIRED]],
    extended: ["EXPIRED", [REFUSE_EXPIRED]],
    expired: ["EXPIRED", []],
    grace_over: ["EXPIRED", [WIND_DOWN_EXPIRED]],
    ended: ["TERMINATED", [SAVE, WIND_DOWN_DELETED]],
    retention_over: ["EXPIRED", [REMOVE]],
  },
  TERMINATED: {
    touched: ["TERMINATED", [REFUSE_TERMINATED]],
    extended: ["TERMINATED", [REFUSE_TERMINATED]],
    expired: ["TERMINATED", []],
    grace_over: ["TERMINATED", [WIND_DOWN_DELETED]],
    ended: ["TERMINATED", [WIND_DOWN_DELETED]],
    retention_over: ["TERMINATED", [REMOVE]],
  },
};

export function sessionStep(state: SessionStateName, event: SessionEvent): SessionStep {
  return TABLE[state][event];
}

/** Open sessions take work. */
export function isOpen(state: SessionStateName): boolean {
  return state === "ACTIVE" || state === "SUSPENDED";
}
