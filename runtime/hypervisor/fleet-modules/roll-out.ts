/**
 * A revision's way from the host that kept it to the others: each in turn, by name, is
 * asked to take it and to say what became of it there.
 *
 *   rolling ─▶ everywhere
 *      │  ▲
 *      │  └── waiting at a host: asked again
 *      ├─▶ taken back: a host did not keep it, so nobody does
 *      └─▶ overtaken: the fleet runs another revision by now, or this host closes
 *
 * Invariants
 * - R1 One host tries it at a time.
 * - R2 The fleet's row is changed before anybody is asked to act on the change: whoever is
 *   not reached, and everybody when this host dies, reads there what to do.
 * - R3 A host that cannot be reached holds nobody up.
 */
import { create } from "@bufbuild/protobuf";
import { type ModuleAnswer, type ModuleQuestion, ModuleQuestionSchema } from "../../contract/gen/sirsi/fleet/v1/fleet_pb.ts";
import { backoffMs, type BackoffConfig } from "../../core/backoff.ts";
import type { Clock } from "../../core/clock.ts";
import { SirsiError } from "../../core/errors.ts";
import type { Fleet } from "../../fleet/fleet.ts";
import type { Logger } from "../../observe/index.ts";
import type { FleetModule, FleetStore, HostEntry } from "../../store/fleet-store.ts";
import type { SwapChoices } from "../swap/swaps.ts";
import type { Verdict } from "./taking.ts";

/** Asks another host. Throws SirsiError when it cannot be reached, or cannot answer. */
export type AskModule = (hostId: string, question: ModuleQuestion) => Promise<ModuleAnswer>;

export interface RollOutGround {
  readonly clock: Clock;
  readonly log: Logger;
  readonly fleet: Pick<Fleet, "self" | "hosts">;
  readonly store: Pick<FleetStore, "putFleetModule">;
  readonly ask: AskModule;
  /** This host goes back, as the fleet's row says by now. */
  readonly goBack: (row: FleetModule, from: string | null, reason: string) => Promise<void>;
  /** What it waits for, as it changes; empty when it goes on. */
  readonly waiting: (reason: string) => void;
}

export interface RollOutPlan {
  readonly row: FleetModule;
  /** What the fleet ran before; null for a module that is new. */
  readonly before: FleetModule | null;
  /** Null: each host's own. */
  readonly choices: SwapChoices | null;
}

export type RollOutEnd = "everywhere" | "taken back" | "overtaken";

/** How long a host that has it wait is left alone. */
export const ASK_AGAIN_MS = 10_000;
/** A host that is live and cannot be reached is tried so often, over some eight seconds. */
const ATTEMPTS = 6;
const RETRY: BackoffConfig = { firstMs: 250, maxMs: 4_000, factor: 2 };

export class RollOut {
  readonly #ground: RollOutGround;
  readonly #plan: RollOutPlan;
  readonly #stop = new AbortController();
  #waitsFor = "";

  constructor(ground: RollOutGround, plan: RollOutPlan) {
    this.#ground = ground;
    this.#plan = plan;
  }

  /** Repeatable. */
  stop(): void {
    this.#stop.abort();
  }

  /** Throws SirsiError only when the fleet's row cannot be written because this host is none of its any more. */
  async run(): Promise<RollOutEnd> {
    try {
      return await this.#goRound();
    } finally {
      this.#tellWaiting("");
    }
  }

  async #goRound(): Promise<RollOutEnd> {
    /** Ids of hosts that have it, or could not be reached (R3). */
    const passed = new Set<string>();
    for (;;) {
      const host = this.#others().find(({ hostId }) => !passed.has(hostId));
      if (this.#stopped) return "overtaken";
      if (host === undefined) return "everywhere";
      const verdict = await this.#tryOn(host); // R1
      if (verdict?.kind === "refused") return await this.#takeBack(`host ${host.name} did not keep it: ${verdict.reason}`);
      if (verdict?.kind === "waits") await this.#wait(host, verdict.reason);
      else passed.add(host.hostId);
    }
  }

  get #stopped(): boolean {
    return this.#stop.signal.aborted;
  }

  /** By name, but for those that join: they read the fleet's rows by themselves. */
  #others(): readonly HostEntry[] {
    const { self, hosts } = this.#ground.fleet;
    return hosts.filter(({ name, state }) => name !== self.name && state !== "joining" && state !== "dead").toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }

  async #tryOn(host: HostEntry): Promise<Verdict | null> {
    const { row, choices } = this.#plan;
    const watch = choices === null ? {} : { canaryPercent: choices.canaryPercent, watchMs: BigInt(Math.round(choices.watchMs)), hasWatchMs: true };
    const verdict = await this.#ask(host, create(ModuleQuestionSchema, { module: row.module, digest: row.digest ?? "", file: row.file, ...watch }));
    if (verdict?.kind !== "waits") this.#tellWaiting("");
    return verdict;
  }

  async #wait({ name }: HostEntry, reason: string): Promise<void> {
    this.#tellWaiting(`host ${name} has it wait: ${reason}`);
    await this.#pause(ASK_AGAIN_MS);
  }

  #tellWaiting(reason: string): void {
    if (reason === this.#waitsFor) return;
    this.#waitsFor = reason;
    const { module, digest } = this.#plan.row;
    if (reason !== "") this.#ground.log.warn({ module, digest, reason }, "a module's roll-out waits");
    this.#ground.waiting(reason);
  }

  /** Null when the host is gone, cannot be reached, or it does not matter any more. */
  async #ask(host: HostEntry, question: ModuleQuestion): Promise<Verdict | null> {
    for (let attempt = 0; attempt < ATTEMPTS && !this.#stopped && this.#isLive(host); ) {
      try {
        const answer = await this.#ground.ask(host.hostId, question);
        if (!answer.underWay) return verdictIn(answer);
      } catch (thrown) {
        const { module } = this.#plan.row;
        this.#ground.log.warn({ module, host: host.name, attempt, err: SirsiError.from(thrown).message }, "a host did not answer about a module; when it cannot be reached it looks by itself later");
        await this.#pause(backoffMs(RETRY, attempt++, 0.5));
      }
    }
    return null;
  }

  #isLive({ hostId }: HostEntry): boolean {
    return this.#others().some((other) => other.hostId === hostId);
  }

  async #takeBack(reason: string): Promise<RollOutEnd> {
    const { row, before } = this.#plan;
    const { clock, fleet, goBack, log } = this.#ground;
    const back: FleetModule = { ...row, digest: before?.digest ?? null, version: before?.version ?? row.version, generation: row.generation + 1, changedAt: clock.now(), changedBy: fleet.self.name };
    if (!(await this.#put(back))) return "overtaken"; // R2
    log.warn({ module: row.module, from: row.digest, to: back.digest, reason }, "a revision is not kept by the whole fleet: every host goes back");
    await goBack(back, row.digest, reason);
    const question = create(ModuleQuestionSchema, { module: row.module, digest: back.digest ?? "", file: row.file, revert: true, reason });
    for (const host of this.#others()) await this.#ask(host, question);
    return "taken back";
  }

  /** False when somebody else was first. */
  async #put(row: FleetModule): Promise<boolean> {
    for (let attempt = 0; !this.#stopped; attempt++) {
      try {
        return await this.#ground.store.putFleetModule(row);
      } catch (thrown) {
        const error = SirsiError.from(thrown);
        if (error.code !== "STORE_UNAVAILABLE") throw error;
        this.#ground.log.warn({ module: row.module, err: error.message }, "what the fleet goes back to could not be written yet");
        await this.#pause(backoffMs(RETRY, attempt, 0.5));
      }
    }
    return false;
  }

  #pause(ms: number): Promise<void> {
    const { signal } = this.#stop;
    return new Promise((resolve) => {
      if (signal.aborted) return resolve();
      const end = () => {
        timer.cancel();
        signal.removeEventListener("abort", end);
        resolve();
      };
      const timer = this.#ground.clock.after(ms, end);
      signal.addEventListener("abort", end);
    });
  }
}

function verdictIn({ refused, waits }: ModuleAnswer): Verdict {
  if (refused !== "") return { kind: "refused", reason: refused };
  return waits === "" ? { kind: "kept" } : { kind: "waits", reason: waits };
}
