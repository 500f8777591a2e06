/**
 * Which revision of a module is active, and how another takes its place.
 *
 *                    ┌─ nothing to replace ────────────────────▶ active
 *   admitted ─take──▶┤                        ┌─ activate ─────▶ active ─ revert ─▶ refused
 *                    └─ held as a candidate ──┤
 *                                             └─ reject ───────▶ refused
 *
 * Invariants
 * - The bytes of a revision are in the archive before it is held or active.
 * - A module has at most one candidate: the revision that its file holds now. A later one
 *   takes its place; a file that goes, or goes back to what serves, takes it away.
 * - Who calls is within the module's lane.
 */
import { SirsiError } from "../core/errors.ts";
import type { ModuleCatalog } from "./module-catalog.ts";
import type { ModuleFile } from "./module-directory.ts";
import { type HeldCandidate, ModuleEntry } from "./module-entry.ts";
import type { LedgerRevision, ModuleLedger } from "./module-ledger.ts";
import type { RegistryConfig, RegistryEvent, TakeOutcome } from "./registry-types.ts";
import type { RevisionArchive } from "./revision-archive.ts";
import type { Revision } from "./revision.ts";
import type { RevisionShelf } from "./revision-shelf.ts";

export interface SuccessionGround {
  readonly config: Pick<RegistryConfig, "clock" | "holdCandidates" | "keepSuperseded" | "onFault">;
  readonly ledger: ModuleLedger;
  readonly archive: RevisionArchive;
  readonly shelf: RevisionShelf;
  readonly catalog: ModuleCatalog;
  readonly emit: (event: RegistryEvent) => void;
}

export interface TakeManner {
  /** Also when it serves already: the policy may have changed. */
  readonly force: boolean;
  /** An operator asked for it. */
  readonly asked: boolean;
}

export class Succession {
  readonly #ground: SuccessionGround;
  #forgetting = false;

  constructor(ground: SuccessionGround) {
    this.#ground = ground;
  }

  /** An admitted revision, as the module's file or an operator gave it. */
  async take(file: string, content: ModuleFile, to: Revision, { force, asked }: TakeManner): Promise<TakeOutcome> {
    const { name } = to.manifest;
    const { sidecar } = content;
    const entry = this.#ground.catalog.entries.get(name) ?? new ModuleEntry(name, file);
    if (!force && entry.file === file && entry.active?.digest === to.digest && entry.activeSidecar === sidecar) {
      Object.assign(entry, { candidate: null, turnedDown: null, lastError: null });
      return { kind: "unchanged", module: name, revision: entry.active };
    }
    const before = entry.candidate;
    if (!asked && before?.to.digest === to.digest && before.file === file && before.sidecar === sidecar) return { kind: "unchanged", module: name, revision: before.from };
    await this.#ground.archive.put(to.digest, content);
    const from = await this.#predecessor(entry, to.digest);
    const held: Omit<HeldCandidate, "from"> = { to, file, sidecar };
    if (from === null) return await this.#activate(entry, held);
    if (!entry.retired) entry.file = file;
    Object.assign(entry, { candidate: { ...held, from }, turnedDown: null });
    const event = { kind: "candidate", module: name, from, to, asked } as const;
    this.#ground.emit(event);
    return event;
  }

  /** Whose place it would take; null when there is nothing to replace, or nothing that could serve meanwhile. */
  async #predecessor(entry: ModuleEntry, digest: string): Promise<Revision | null> {
    if (this.#ground.config.holdCandidates !== true) return null;
    const before = entry.activeDigest ?? entry.superseded()[0]?.digest ?? digest;
    if (before === digest) return null;
    if (entry.active !== null) return entry.active;
    try {
      const revision = await this.#ground.shelf.load(before);
      if (!entry.retired) Object.assign(entry, { active: revision, activeSidecar: await this.#ground.archive.sidecar(before) });
      return revision;
    } catch (thrown) {
      this.#ground.config.onFault(SirsiError.from(thrown), `loading what module ${entry.name} served before`);
      return null;
    }
  }

  /** Makes the held candidate active. Repeatable. MODULE_REJECTED when it is the module's candidate no longer. */
  async activate(entry: ModuleEntry, digest: string): Promise<void> {
    if (entry.active?.digest === digest) return;
    const held = entry.candidate;
    if (held?.to.digest !== digest) {
      throw new SirsiError("MODULE_REJECTED", `revision ${digest.slice(0, 12)} of module ${entry.name} is no longer what its file holds; install it again if it is still wanted`, { metadata: { module: entry.name } });
    }
    await this.#activate(entry, held);
  }

  async #activate(entry: ModuleEntry, { to, file, sidecar }: Omit<HeldCandidate, "from">): Promise<TakeOutcome> {
    const { catalog, shelf, emit } = this.#ground;
    const { name } = entry;
    const from = entry.active;
    await this.#enthrone(entry, to, file);
    catalog.entries.set(name, entry);
    shelf.put(to);
    Object.assign(entry, { file, retired: false, active: to, activeSidecar: sidecar, candidate: null, turnedDown: null, lastError: null });
    await this.#leaveFile(file, name);
    emit({ kind: "activated", module: name, from, to });
    await this.forgetOld(entry);
    return { kind: "activated", module: name, from, to };
  }

  /** In the ledger and the entry's records; what was active is superseded. */
  async #enthrone(entry: ModuleEntry, { digest, manifest, sizeBytes }: Revision, file: string): Promise<void> {
    const { config, ledger } = this.#ground;
    const record: LedgerRevision = { digest, module: entry.name, version: manifest.version, state: "ACTIVE", reason: "", sizeBytes, installedAt: config.clock.now() };
    await ledger.putModule({ module: entry.name, activeDigest: digest, retired: false, file }, record);
    await this.#supersede(entry, digest);
    entry.record(record);
  }

  async #supersede(entry: ModuleEntry, but: string): Promise<void> {
    for (const record of entry.records.filter((other) => other.state === "ACTIVE" && other.digest !== but)) await this.#amend(entry, { ...record, state: "SUPERSEDED" });
  }

  async #amend(entry: ModuleEntry, record: LedgerRevision): Promise<void> {
    await this.#ground.ledger.putRevision(record);
    entry.amend(record);
  }

  /** The file gives module `now`; whatever it gave before is retired, or forgotten when it never served. */
  async #leaveFile(file: string, now: string): Promise<void> {
    for (const former of this.#ground.catalog.entries.values()) {
      if (former.file === file && former.name !== now && !former.retired) await this.retire(former);
    }
  }

  /** The candidate goes; `reason` is kept, and the file is not taken again unasked. One that served before may serve again. */
  async reject(entry: ModuleEntry, to: Revision, reason: string): Promise<void> {
    if (entry.candidate?.to.digest === to.digest) entry.candidate = null;
    if (entry.active?.digest === to.digest) return;
    if (!entry.hasServed(to.digest)) await this.#refuse(entry, to, reason);
    this.#turnDown(entry, to, reason);
  }

  /** The candidate goes without a word against it. */
  withdraw(entry: ModuleEntry, digest: string): void {
    if (entry.candidate?.to.digest === digest) entry.candidate = null;
  }

  /** `from` is not kept: `to` is active again. Repeatable; of a module that has moved on since, only the refusal is noted. */
  async revert(entry: ModuleEntry, from: Revision, to: Revision, reason: string): Promise<void> {
    const { archive, shelf, emit } = this.#ground;
    if (entry.active?.digest === from.digest) {
      await this.#enthrone(entry, to, entry.file);
      shelf.put(to);
      Object.assign(entry, { active: to, activeSidecar: await archive.sidecar(to.digest) });
      if (entry.candidate !== null) entry.candidate = { ...entry.candidate, from: to };
      emit({ kind: "reverted", module: entry.name, from, to, reason });
    }
    await this.#refuse(entry, from, reason);
    this.#turnDown(entry, from, reason);
  }

  async #refuse(entry: ModuleEntry, { digest, manifest, sizeBytes }: Revision, reason: string): Promise<void> {
    const record: LedgerRevision = { digest, module: entry.name, version: manifest.version, state: "REJECTED", reason, sizeBytes, installedAt: this.#ground.config.clock.now() };
    await this.#ground.ledger.putRevision(record);
    entry.record(record);
  }

  #turnDown(entry: ModuleEntry, { digest, manifest }: Revision, reason: string): void {
    if (entry.candidate?.to.digest === digest) entry.candidate = null;
    if (entry.candidate !== null) return; // the file holds another by now
    entry.turnedDown = digest;
    entry.lastError = new SirsiError("MODULE_REJECTED", `revision ${digest.slice(0, 12)} (${manifest.version}) was not kept: ${reason}`, { metadata: { module: entry.name, digest } }).toPlain();
  }

  /** Running agents finish, new ones are refused; a module that never served is forgotten. */
  async retire(entry: ModuleEntry): Promise<void> {
    const { catalog, ledger, emit } = this.#ground;
    if (!entry.records.some((record) => entry.hasServed(record.digest))) {
      catalog.entries.delete(entry.name);
      return;
    }
    const last = entry.active;
    await ledger.putModule({ module: entry.name, activeDigest: null, retired: true, file: entry.file }, null);
    await this.#supersede(entry, "");
    Object.assign(entry, { retired: true, active: null, activeSidecar: null, candidate: null, turnedDown: null, lastError: null });
    emit({ kind: "retired", module: entry.name, last });
  }

  // -- Forgetting -----------------------------------------------------------------------------

  /** From here on, what nobody needs may be forgotten. */
  allowForgetting(): void {
    this.#forgetting = true;
  }

  /** One that this host never served, and had from another for an agent that is gone from here. */
  async forgetForeign(digest: string): Promise<void> {
    const { catalog, shelf } = this.#ground;
    if (!this.#forgetting || shelf.inUse(digest)) return;
    if (![...catalog.entries.values()].some((entry) => entry.knows(digest) || entry.candidate?.to.digest === digest)) await shelf.forget(digest);
  }

  /** Superseded and refused revisions beyond the newest, unless an agent is on them, asleep or not, or a swap needs them. */
  async forgetOld(entry: ModuleEntry): Promise<void> {
    if (!this.#forgetting) return;
    const { config, ledger, shelf } = this.#ground;
    const refused = entry.records.filter(({ state }) => state === "REJECTED" || state === "PENDING_APPROVAL");
    const beyond = [...entry.superseded().filter(({ digest }) => !shelf.inUse(digest)).slice(config.keepSuperseded), ...refused.slice(config.keepSuperseded)];
    if (beyond.length === 0) return;
    const peopled = await ledger.countByDigest(entry.name);
    for (const { digest } of beyond) {
      if (shelf.inUse(digest) || (peopled.get(digest) ?? 0) > 0 || entry.candidate?.to.digest === digest || entry.active?.digest === digest) continue;
      await shelf.forget(digest);
      entry.forget(digest);
    }
  }
}
