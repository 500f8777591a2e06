/** What an operator does to a fleet, through whatever door answers: tried again as long as it is told that it may be. */
import { setTimeout as pause } from "node:timers/promises";
import { ClientError, type SirsiClient } from "../../../runtime/client/index.ts";
import { systemClock } from "../../../runtime/core/clock.ts";
import type { Line } from "../host-line.ts";
import type { Violation } from "../model.ts";
import type { Tally } from "../tally.ts";

const PATIENCE_MS = 45_000;
const CALL_DEADLINE_MS = 30_000;
const AGAIN = new Set(["", "STORE_UNAVAILABLE", "SHUTTING_DOWN", "AGENT_FENCED", "OVERLOADED", "BUS_UNAVAILABLE", "BUS_NO_RESPONDERS", "DEADLINE_EXCEEDED", "SHARD_LOST"]);
/** A host that was lost is named by no list for a moment. */
const NOT_SEEN = /has no live host/;

export class FleetOperator {
  readonly #line: Line;
  readonly #tally: Tally;
  readonly #onViolation: (violation: Violation) => void;

  constructor(line: Line, tally: Tally, onViolation: (violation: Violation) => void) {
    this.#line = line;
    this.#tally = tally;
    this.#onViolation = onViolation;
  }

  async drain(host: string): Promise<void> {
    await this.#insist(`drain of ${host}`, async ({ operator }) => {
      let last = null;
      for await (const progress of operator.drainHost({ host }, { deadlineMs: CALL_DEADLINE_MS })) last = progress;
      if (last === null) return;
      this.#tally.count("agents drained", Number(last.moved));
      this.#tally.time("drain", Number(last.elapsedMs));
      this.#tally.time("drain pause", last.pauseMaxMs);
    });
  }

  async undrain(host: string): Promise<void> {
    await this.#insist(`undrain of ${host}`, async ({ operator }) => void (await operator.undrainHost({ host }, { deadlineMs: CALL_DEADLINE_MS, retries: 0 })));
  }

  async move(agentId: string, host: string): Promise<void> {
    await this.#insist(`move to ${host}`, async ({ operator }) => {
      const { pauseMs, stayed } = await operator.moveAgent({ agentId, host }, { deadlineMs: CALL_DEADLINE_MS, retries: 0 });
      this.#tally.count(stayed ? "agents moved to where they were" : "agents moved by hand");
      if (!stayed) this.#tally.time("move pause", pauseMs);
    });
  }

  async #insist(what: string, act: (client: SirsiClient) => Promise<void>): Promise<void> {
    const until = systemClock.monotonic() + PATIENCE_MS;
    for (;;) {
      const client = await this.#line.client();
      try {
        return await act(client);
      } catch (thrown) {
        const error = ClientError.from(thrown);
        this.#tally.count(`operator refused ${error.reason === "" ? error.rpcName : error.reason}`);
        if (error.reason === "") this.#line.avoid(client);
        const may = AGAIN.has(error.reason) || NOT_SEEN.test(error.message);
        if (!may || systemClock.monotonic() > until) {
          this.#onViolation({ what: "operator", ledger: "all", expected: `${what} to be done within ${PATIENCE_MS} ms`, found: `${error.reason} ${error.message}` });
          return;
        }
        await pause(Math.min(error.retryAfterMs ?? 200, 1_000));
      }
    }
  }
}
