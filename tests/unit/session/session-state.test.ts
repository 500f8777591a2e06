import { describe, expect, it } from "vitest";
import { isOpen, sessionStep } from "../../../runtime/session/session-state.ts";
import type { SessionEvent } from "../../../runtime/session/session-state.ts";
import type { SessionStateName } from "../../../runtime/store/store.ts";

/** state: event -> next state and what is to be done, in short. */
const EXPECTED: Record<SessionStateName, Record<SessionEvent, string>> = {
  ACTIVE: {
    touched: "ACTIVE",
    extended: "ACTIVE save announce:SESSION_EXTENDED",
    expired: "EXPIRED save announce:STATUS_CHANGED",
    grace_over: "ACTIVE",
    ended: "TERMINATED save wind_down:deleted",
    retention_over: "ACTIVE",
  },
  SUSPENDED: {
    touched: "ACTIVE save announce:STATUS_CHANGED",
    extended: "SUSPENDED save announce:SESSION_EXTENDED",
    expired: "EXPIRED save announce:STATUS_CHANGED",
    grace_over: "SUSPENDED",
    ended: "TERMINATED save wind_down:deleted",
    retention_over: "SUSPENDED",
  },
  EXPIRED: {
    touched: "EXPIRED refuse:SESSION_EXPIRED",
    extended: "EXPIRED refuse:SESSION_EXPIRED",
    expired: "EXPIRED",
    grace_over: "EXPIRED wind_down:expired",
    ended: "TERMINATED save wind_down:deleted",
    retention_over: "EXPIRED remove",
  },
  TERMINATED: {
    touched: "TERMINATED refuse:SESSION_TERMINATED",
    extended: "TERMINATED refuse:SESSION_TERMINATED",
    expired: "TERMINATED",
    grace_over: "TERMINATED wind_down:deleted",
    ended: "TERMINATED wind_down:deleted",
    retention_over: "TERMINATED remove",
  },
};

function inShort(state: SessionStateName, event: SessionEvent): string {
  const [next, effects] = sessionStep(state, event);
  const words = effects.map((effect) => {
    if (effect.kind === "announce") return `announce:${effect.type}`;
    if (effect.kind === "wind_down") return `wind_down:${effect.reason}`;
    return effect.kind === "refuse" ? `refuse:${effect.code}` : effect.kind;
  });
  return [next, ...words].join(" ");
}

describe("every state under every event", () => {
  for (const [state, row] of Object.entries(EXPECTED) as [SessionStateName, Record<SessionEvent, string>][]) {
    for (const [event, expected] of Object.entries(row) as [SessionEvent, string][]) {
      it(`${state} ${event} -> ${expected}`, () => expect(inShort(state, event)).toBe(expected));
    }
  }
});

it("no event opens a closed session, and a change of state is always saved", () => {
  for (const [state, row] of Object.entries(EXPECTED) as [SessionStateName, Record<SessionEvent, string>][]) {
    for (const event of Object.keys(row) as SessionEvent[]) {
      const [next, effects] = sessionStep(state, event);
      if (!isOpen(state)) expect(isOpen(next)).toBe(false);
      if (next !== state) expect(effects[0]?.kind).toBe("save");
    }
  }
});
