import { describe, expect, test } from "vitest";
import { type AgentPhase, type AgentPhaseEvent, phaseReason, publicState, transition } from "../../../runtime/agent/agent-state.ts";

const PHASES: readonly AgentPhase[] = [
  { kind: "initializing" },
  { kind: "ready" },
  { kind: "busy" },
  { kind: "restarting", reason: "it trapped" },
  { kind: "quarantined", reason: "it trapped again" },
  { kind: "terminated", reason: "deleted" },
  { kind: "left" },
];
const EVENTS: readonly AgentPhaseEvent[] = [
  { kind: "opened" },
  { kind: "step_begins" },
  { kind: "step_ended" },
  { kind: "faulted", reason: "new fault", giveUp: false },
  { kind: "faulted", reason: "last fault", giveUp: true },
  { kind: "restarted" },
  { kind: "released" },
  { kind: "left" },
  { kind: "stopped", reason: "new end" },
];

const nameOf = (event: AgentPhaseEvent) => (event.kind === "faulted" && event.giveUp ? "gave_up" : event.kind);

/** Where each event leads; a pair that is not listed leaves the phase as it is. */
const MOVES: Readonly<Record<AgentPhase["kind"], Readonly<Record<string, AgentPhase["kind"]>>>> = {
  initializing: { opened: "ready", faulted: "restarting", gave_up: "quarantined", left: "left", stopped: "terminated" },
  ready: { step_begins: "busy", faulted: "restarting", gave_up: "quarantined", left: "left", stopped: "terminated" },
  busy: { step_ended: "ready", faulted: "restarting", gave_up: "quarantined", left: "left", stopped: "terminated" },
  restarting: { restarted: "ready", faulted: "restarting", gave_up: "quarantined", left: "left", stopped: "terminated" },
  quarantined: { released: "ready", left: "left", stopped: "terminated" },
  terminated: {},
  left: {},
};

describe.each(PHASES.map((phase) => [phase.kind, phase] as const))("an agent that is %s", (_kind, phase) => {
  test.each(EVENTS.map((event) => [nameOf(event), event] as const))("on %s", (name, event) => {
    const wanted = MOVES[phase.kind][name];
    const result = transition(phase, event);
    expect(result.ignored).toBe(wanted === undefined);
    if (wanted === undefined) expect(result.phase).toBe(phase);
    else expect(result.phase.kind).toBe(wanted);
    if (wanted !== undefined && "reason" in event) expect(phaseReason(result.phase)).toBe(event.reason);
  });
});

test("each phase has the state that clients know it by, and those that failed or ended tell a reason", () => {
  expect(PHASES.map(publicState)).toEqual(["INITIALIZING", "READY", "BUSY", "ERROR", "ERROR", "TERMINATED", "READY"]);
  expect(PHASES.map(phaseReason)).toEqual(["", "", "", "it trapped", "it trapped again", "deleted", ""]);
});
