/**
 * How this host takes the revision that the fleet runs: as an operator's install would,
 * over its own agents, by its own grants and sidecars.
 */
import { SirsiError, type ErrorCode } from "../../core/errors.ts";
import { SerialLanes } from "../../module/serial-lanes.ts";
import type { InstallOutcome, ModuleRegistry, ModuleView } from "../../module/index.ts";
import type { FleetModule, FleetStore } from "../../store/fleet-store.ts";
import type { SwapRecord } from "../../store/store.ts";
import { tellsNothing } from "../swap/swap-record.ts";
import type { SwapChoices, Swaps } from "../swap/swaps.ts";

/** What becomes of a revision on one host. */
export type Verdict =
  | { readonly kind: "kept" }
  | { readonly kind: "refused"; readonly reason: string }
  /** Neither yet, and why. */
  | { readonly kind: "waits"; readonly reason: string };

export interface Manner {
  readonly choices: SwapChoices;
  /** Whatever is being tried here instead gives way. */
  readonly force: boolean;
  /** Not null: it is gone back to from `digest`, which another host did not keep. */
  readonly back: { readonly from: string | null; readonly reason: string } | null;
  /** Asked right before anything is changed: whether it is still what the fleet runs. */
  readonly isWanted: () => boolean;
}

export interface TakingGround {
  readonly store: Pick<FleetStore, "getModuleBytes">;
  readonly modules: Pick<ModuleRegistry, "candidateOf" | "install" | "list" | "remark" | "remove" | "revisionByDigest">;
  readonly swaps: Pick<Swaps, "over" | "performToEnd" | "takeBack" | "trying">;
}

const KEPT: Verdict = { kind: "kept" };
/** What the module is to blame for, on this host. */
const REFUSALS: ReadonlySet<ErrorCode> = new Set(["MODULE_REJECTED", "MODULE_TOO_LARGE", "MODULE_TIMEOUT"]);

export class Taking {
  readonly #ground: TakingGround;
  /** Of several that are taken one after the other the last is what is left. */
  readonly #lanes = new SerialLanes();

  constructor(ground: TakingGround) {
    this.#ground = ground;
  }

  /** Null for a module that is not known here. */
  view(module: string): ModuleView | null {
    return this.#ground.modules.list().find(({ name }) => name === module) ?? null;
  }

  /** Null when none is. */
  activeDigest(module: string): string | null {
    return this.view(module)?.active?.digest ?? null;
  }

  /** Whether the module serves this, and nothing is about to take its place. */
  isSettledOn(module: string, digest: string | null): boolean {
    const { modules, swaps } = this.#ground;
    const tried = swaps.trying(module) ?? modules.candidateOf(module)?.digest ?? digest;
    return this.activeDigest(module) === digest && tried === digest;
  }

  /** Throws SirsiError when the host, and not the module, is in the way. */
  async take(row: FleetModule, manner: Manner): Promise<Verdict> {
    const { module, digest } = row;
    if (digest === null) return await this.#remove(module, manner);
    const { swaps } = this.#ground;
    const tried = swaps.trying(module);
    if (manner.force ? this.isSettledOn(module, digest) : this.activeDigest(module) === digest) return await this.#watched(row);
    if (!manner.force && tried !== null && tried !== digest) return waits(`another revision, ${tried.slice(0, 12)}, is being tried there`);
    if (manner.back !== null && tried === null && this.activeDigest(module) === manner.back.from) return await this.#goBack(module, digest, manner);
    const pending = this.view(module)?.revisions.find(({ record }) => record.digest === digest && record.state === "PENDING_APPROVAL");
    if (!manner.force && pending !== undefined && tried === null) return waits(pending.record.reason);
    return await this.#install(row, manner);
  }

  /** It is active: kept, when the swap that brought it has ended so. */
  async #watched({ module, digest }: FleetModule): Promise<Verdict> {
    const { swaps } = this.#ground;
    if (swaps.trying(module) === digest) await swaps.over(module);
    if (this.activeDigest(module) === digest) return KEPT;
    return { kind: "refused", reason: this.view(module)?.lastError?.message ?? "it did not stay active" };
  }

  async #install(row: FleetModule, { choices, isWanted }: Manner): Promise<Verdict> {
    const { modules, store, swaps } = this.#ground;
    const { module, digest, file } = row;
    const bytes = await store.getModuleBytes(digest ?? "");
    if (bytes === null) throw new SirsiError("STORE_CORRUPT", `the fleet runs revision ${digest?.slice(0, 12)} of module ${module}, and its store has not its bytes; install the module again`);
    let outcome: InstallOutcome | null;
    try {
      outcome = await this.#lanes.run(module, async () => (isWanted() ? await modules.install(bytes, { validateOnly: false, file }) : null));
    } catch (thrown) {
      const error = SirsiError.from(thrown);
      if (REFUSALS.has(error.code)) return { kind: "refused", reason: error.message };
      throw error;
    }
    if (outcome === null) return waits("the fleet runs another revision by now");
    if (outcome.kind === "pending") return waits(outcome.error.message);
    if (outcome.kind === "unchanged") return await this.#watched(row);
    return outcome.kind === "candidate" ? verdictOf(await swaps.performToEnd(outcome, choices)) : KEPT;
  }

  async #goBack(module: string, digest: string, { back }: Manner): Promise<Verdict> {
    const { modules, swaps } = this.#ground;
    const to = await modules.revisionByDigest(digest);
    const from = this.view(module)?.active ?? null;
    if (from !== null && from.digest === back?.from) await swaps.takeBack(from, to, back.reason);
    return KEPT;
  }

  async #remove(module: string, { back, isWanted }: Manner): Promise<Verdict> {
    const { modules } = this.#ground;
    await this.#lanes.run(module, async () => {
      if (!isWanted() || this.activeDigest(module) === null) return;
      await modules.remove(module);
      if (back !== null) modules.remark(module, new SirsiError("MODULE_REJECTED", `its first revision was not kept: ${back.reason}; install a better one`));
    });
    return KEPT;
  }
}

function waits(reason: string): Verdict {
  return { kind: "waits", reason };
}

function verdictOf(record: SwapRecord): Verdict {
  if (record.state === "KEPT") return KEPT;
  return tellsNothing(record.reason) ? waits(record.reason) : { kind: "refused", reason: record.reason };
}
