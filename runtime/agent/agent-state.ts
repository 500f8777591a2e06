/**
 * Where an agent is, and the one pure function that moves it.
 *
 *   initializing ─opened─▶ ready ─step_begins─▶ busy ─step_ended─▶ ready
 *        │                  ▲   ▲                 │ faulted
 *        │ failed           │   │ restarted       ▼
 *        │                  │   └───────────── restarting ──too many──▶ quarantined
 *        ▼                  └───────────────────released────────────────────┘
 *   terminated ◀── stopped, from anywhere
 *   left ◀── left, from anywhere else: the agent lives on, but not in this object
 *
 * An event that means nothing in a state leaves it as it is and says so (`ignored`):
 * callers never have to guard, and a test walks every pair.
 */
import type { AgentStateName } from "../store/store.ts";

export type AgentPhase =
  | { readonly kind: "initializing" }
  | { readonly kind: "ready" }
  | { readonly kind: "busy" }
  /** A fault ended its instance; it is started again from its last commit. */
  | { readonly kind: "restarting"; readonly reason: string }
  /** It failed too often. Its mailbox is kept, and waits until somebody acts. */
  | { readonly kind: "quarantined"; readonly reason: string }
  | { readonly kind: "terminated"; readonly reason: string }
  /** Paged out, or taken over by another owner: this object is of no further use. */
  | { readonly kind: "left" };

export type AgentPhaseEvent =
  | { readonly kind: "opened" }
  | { readonly kind: "step_begins" }
  | { readonly kind: "step_ended" }
  | { readonly kind: "faulted"; readonly reason: string; readonly giveUp: boolean }
  | { readonly kind: "restarted" }
  | { readonly kind: "released" }
  | { readonly kind: "left" }
  | { readonly kind: "stopped"; readonly reason: string };

export interface Transition {
  readonly phase: AgentPhase;
  /** The event means nothing in the phase it met. */
  readonly ignored: boolean;
}

function moved(phase: AgentPhase): Transition {
  return { phase, ignored: false };
}

// Every message goes through these two: made once.
const TO_READY = moved({ kind: "ready" });
const TO_BUSY = moved({ kind: "busy" });

function ignored(phase: AgentPhase): Transition {
  return { phase, ignored: true };
}

export function transition(phase: AgentPhase, event: AgentPhaseEvent): Transition {
  if (phase.kind === "terminated" || phase.kind === "left") return ignored(phase);
  switch (event.kind) {
    case "stopped":
      return moved({ kind: "terminated", reason: event.reason });
    case "left":
      return moved({ kind: "left" });
    case "opened":
      return phase.kind === "initializing" ? TO_READY : ignored(phase);
    case "step_begins":
      return phase.kind === "ready" ? TO_BUSY : ignored(phase);
    case "step_ended":
      return phase.kind === "busy" ? TO_READY : ignored(phase);
    case "faulted":
      if (phase.kind === "quarantined") return ignored(phase);
      return moved(event.giveUp ? { kind: "quarantined", reason: event.reason } : { kind: "restarting", reason: event.reason });
    case "restarted":
      return phase.kind === "restarting" ? TO_READY : ignored(phase);
    case "released":
      return phase.kind === "quarantined" ? TO_READY : ignored(phase);
  }
}

const PUBLIC_STATE: { readonly [Kind in AgentPhase["kind"]]: AgentStateName } = {
  initializing: "INITIALIZING",
  ready: "READY",
  busy: "BUSY",
  restarting: "ERROR",
  quarantined: "ERROR",
  terminated: "TERMINATED",
  left: "READY",
};

export function publicState(phase: AgentPhase): AgentStateName {
  return PUBLIC_STATE[phase.kind];
}

export function phaseReason(phase: AgentPhase): string {
  return "reason" in phase ? phase.reason : "";
}
