/** What an agent's faults lead to: it is started again, set aside, or ended; and how it comes back. */
import type { Timer } from "../core/clock.ts";
import { SirsiError } from "../core/errors.ts";
import type { Revision } from "../module/revision.ts";
import type { AgentRecord } from "../store/store.ts";
import type { AgentPhase, AgentPhaseEvent } from "./agent-state.ts";
import type { AgentLedger } from "./agent-ledger.ts";
import type { Changes } from "./changes.ts";
import { endsFor, FaultHistory } from "./restart-policy.ts";
import type { Surroundings } from "./surroundings.ts";

export interface Recovering {
  readonly id: string;
  readonly sessionId: string;
  readonly around: Surroundings;
  readonly record: AgentRecord;
  readonly revision: Revision;
  readonly phase: AgentPhase;
  readonly ledger: AgentLedger;
  readonly changes: Changes;
  move(event: AgentPhaseEvent): void;
  pump(): void;
  /** The record as the store is to have it. */
  noted(): AgentRecord;
}

export class Recovery {
  readonly #agent: Recovering;
  readonly #faults: FaultHistory;
  #restartTimer: Timer | null = null;

  constructor(agent: Recovering) {
    this.#agent = agent;
    this.#faults = new FaultHistory(agent.around.restart);
  }

  get restarts(): number {
    return this.#faults.restarts;
  }

  /** Why it failed last; empty when that is long ago. */
  get recentFault(): string {
    return this.#faults.recent(this.#agent.around.clock.monotonic());
  }

  /** The guest's own doing ended its instance. */
  faulted(error: SirsiError): void {
    const { id, sessionId, around, record, revision, phase } = this.#agent;
    if (phase.kind === "terminated") return;
    const { clock, metrics, log, random, supervision } = around;
    metrics.counter("sirsi_guest_faults_total", record.module, error.code.toLowerCase()).inc();
    log.warn({ agentId: id, sessionId, module: record.module, code: error.code, err: error.message }, "an agent failed and goes back to its last commit");
    if (endsFor(revision.manifest.restart, error)) {
      this.#agent.move({ kind: "stopped", reason: error.message });
      supervision.finished(this.#agent, error.message);
      return;
    }
    const delayMs = this.#faults.note(error.message, clock.monotonic(), random());
    if (delayMs === null) {
      this.quarantine(error.message);
      return;
    }
    // Without a delay the end of the step makes it ready, and the next one opens it anew.
    if (delayMs > 0) {
      this.#agent.move({ kind: "faulted", reason: error.message, giveUp: false });
      this.#restartTimer = clock.after(delayMs, () => {
        this.#agent.move({ kind: "restarted" });
        this.#agent.pump();
      });
    }
    supervision.restarted(this.#agent);
  }

  /** Sets it aside, with its mailbox, until somebody releases it. */
  quarantine(reason: string): void {
    const { id, changes, ledger } = this.#agent;
    this.#agent.move({ kind: "faulted", reason, giveUp: true });
    changes.refuseAll(new SirsiError("AGENT_QUARANTINED", `agent ${id} was set aside: ${reason}`));
    ledger.note(this.#agent.noted());
  }

  /** Lets it work again, and forgets its faults. */
  async release(): Promise<void> {
    const { around, changes, ledger } = this.#agent;
    if (this.#agent.phase.kind !== "quarantined") return;
    await changes.alone(() => ledger.put({ ...this.#agent.record, state: "READY", statusMessage: "", updatedAt: around.clock.now() }));
    this.#faults.forget();
    this.#agent.move({ kind: "released" });
    this.#agent.pump();
  }

  close(): void {
    this.#restartTimer?.cancel();
  }
}
