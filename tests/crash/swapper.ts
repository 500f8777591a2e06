/** Changes the ledger's code while it works: what an operator, or a build server, would do at a bad moment. */
import { ClientError, SwapState } from "../../runtime/client/index.ts";
import type { SirsiClient, SwapSummary } from "../../runtime/client/index.ts";
import type { LedgerBuild, LedgerBuilds } from "./ledger-builds.ts";
import { SOUND } from "./ledger-builds.ts";
import type { Violation } from "./model.ts";
import type { SwapAct } from "./schedule.ts";
import type { Tally } from "./tally.ts";

export const MODULE = "ledger";
const CALL_DEADLINE_MS = 30_000;
/** How long a build with something wrong may serve before the harness mends it, as an operator would. */
const PATIENCE_MS = 2_500;

export class Swapper {
  readonly #builds: LedgerBuilds;
  readonly #tally: Tally;
  readonly #onViolation: (violation: Violation) => void;
  #newest: LedgerBuild;
  /** A sick build was installed and is not known to have gone. */
  #sick = false;

  constructor(builds: LedgerBuilds, first: LedgerBuild, tally: Tally, onViolation: (violation: Violation) => void) {
    this.#builds = builds;
    this.#newest = first;
    this.#tally = tally;
    this.#onViolation = onViolation;
  }

  get sick(): boolean {
    return this.#sick;
  }

  /** Resolves when the host has answered, or cannot any more. */
  async act(act: SwapAct, client: SirsiClient): Promise<void> {
    try {
      const { swap } = await this.#call(act, client);
      this.#count(act, swap);
    } catch (thrown) {
      const error = ClientError.from(thrown);
      this.#tally.count(`swap refusals ${error.reason === "" ? "cut off" : error.reason}`);
      if (error.reason === "INTERNAL" || error.reason === "STORE_CORRUPT") this.#onViolation({ what: "swap", ledger: "all", expected: `${act.kind} to be done, or refused with a reason`, found: `${error.reason}: ${error.message}` });
    }
  }

  #call(act: SwapAct, { modules }: SirsiClient): Promise<{ readonly swap?: SwapSummary | undefined }> {
    const options = { deadlineMs: CALL_DEADLINE_MS, retries: 0 };
    switch (act.kind) {
      case "install": {
        this.#newest = act.fresh ? this.#builds.make(act.build) : this.#builds.known(act.build, this.#newest);
        if (act.build === "sik") this.#sick = true;
        return modules.installModule({ wasm: this.#newest.wasm }, options);
      }
      case "reinstall":
        return modules.installModule({ wasm: this.#newest.wasm }, options);
      case "rollback":
        return modules.rollbackModule({ name: MODULE }, options);
      case "reload":
        return modules.reloadModule({ name: MODULE }, options);
    }
  }

  #count(act: SwapAct, swap: SwapSummary | undefined): void {
    this.#tally.count(`swap calls ${act.kind}`);
    const state = Object.entries(SwapState).find(([, value]) => value === swap?.state)?.[0] ?? "NONE";
    this.#tally.count(`swap ends ${state}`);
    this.#tally.count("agents moved", swap?.moved ?? 0);
    this.#tally.count("agents moved back", swap?.reverted ?? 0);
  }

  /** Sees to it that what serves is sound; gives up only with `stop`. */
  async heal(client: SirsiClient, stop: AbortSignal, sleep: (ms: number) => Promise<void>): Promise<void> {
    for (let waited = 0; !stop.aborted; waited += 250) {
      const active = await this.#activeKind(client);
      if (active !== null && SOUND.includes(active)) return;
      if (waited >= PATIENCE_MS) {
        this.#tally.count("builds mended by hand");
        await this.act({ atMs: 0, kind: "install", build: "one", fresh: false }, client);
        waited = 0;
      }
      await sleep(250);
    }
  }

  /** Nothing sick is at work any more. */
  healed(): void {
    this.#sick = false;
  }

  async #activeKind(client: SirsiClient) {
    try {
      const { module } = await client.modules.getModule({ name: MODULE }, { deadlineMs: CALL_DEADLINE_MS, retries: 0 });
      return this.#builds.kindOf(module?.active?.digest ?? "");
    } catch {
      return null;
    }
  }
}
