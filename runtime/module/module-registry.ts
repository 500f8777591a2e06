/**
 * The modules of this host: what the module directory, the ledger and the operators make of them.
 *
 * Invariants:
 *  1. The file in the module directory is what serves, or is to serve: rollback and install
 *     write it first.
 *  2. A file that cannot be taken, or was taken and not kept, changes nothing but its module's
 *     lastError; the revision that served goes on serving, over restarts too.
 *  3. The bytes of a revision are in the archive before it becomes active, and stay there
 *     while it is active, in use, or among the newest superseded ones.
 *  4. What is done to one file is done in order, and so is what is done to one module;
 *     the file's lane is always entered first.
 *  5. Of files with one manifest name the one that came first has it, until it is gone.
 */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { SirsiError, type PlainError } from "../core/errors.ts";
import { faultPoint } from "../core/fault-points.ts";
import { openAdmission, type Admission } from "./admission.ts";
import type { AdmissionOutcome } from "./admission-pipeline.ts";
import type { AdmissionPolicy } from "./admit.ts";
import { digestOf } from "./inspect.ts";
import { MODULE_NAME } from "./manifest-schema.ts";
import { ModuleCatalog, type Successor } from "./module-catalog.ts";
import { isModuleFile, ModuleDirectory, MODULE_EXTENSION, type ModuleFile } from "./module-directory.ts";
import { ModuleEntry } from "./module-entry.ts";
import type { LedgerRevision, ModuleLedger } from "./module-ledger.ts";
import type { InstallOutcome, ModuleView, RegistryConfig, RegistryEvent, SuccessfulTake, TakeOutcome } from "./registry-types.ts";
import { RevisionArchive } from "./revision-archive.ts";
import type { Revision } from "./revision.ts";
import { RevisionShelf } from "./revision-shelf.ts";
import { SerialLanes } from "./serial-lanes.ts";
import { Succession, type TakeManner } from "./succession.ts";
import { fileIsGone, looked, successful } from "./take-outcome.ts";
import { type DirectoryWatcher, watchDirectory } from "./watcher.ts";

interface Refusal {
  readonly file: string;
  readonly digest: string;
  /** Empty when the file does not tell. */
  readonly name: string;
  readonly version: string;
  readonly sizeBytes: number;
  readonly error: PlainError;
}

export class ModuleRegistry {
  readonly #config: RegistryConfig;
  readonly #ledger: ModuleLedger;
  readonly #admission: Admission;
  readonly #directory: ModuleDirectory;
  readonly #archive: RevisionArchive;
  readonly #shelf: RevisionShelf;
  readonly #lanes = new SerialLanes();
  readonly #catalog: ModuleCatalog;
  readonly #succession: Succession;
  /** Files whose module another file provides, with that module's name. */
  readonly #shadowed = new Map<string, string>();
  readonly #subscribers = new Set<(event: RegistryEvent) => void>();
  #watcher: DirectoryWatcher | null = null;
  #closed = false;

  constructor(config: RegistryConfig, ledger: ModuleLedger) {
    this.#config = config;
    this.#ledger = ledger;
    this.#admission = config.admission ?? openAdmission({ ...config, cacheDir: join(config.dataDir, "cache") });
    this.#directory = new ModuleDirectory(config.directory, config.moduleMaxBytes);
    this.#archive = new RevisionArchive(join(config.dataDir, "revisions"), config.shared === undefined ? null : { shared: config.shared, sidecarFor: (bytes) => this.#sidecarFor(bytes) });
    this.#shelf = new RevisionShelf(this.#archive, this.#admission);
    this.#catalog = new ModuleCatalog((digest) => this.#shelf.loaded(digest));
    this.#succession = new Succession({ config, ledger, archive: this.#archive, shelf: this.#shelf, catalog: this.#catalog, emit: (event) => this.#emit(event) });
  }

  /** Takes what the ledger knows and what the directory holds; resolves when all of it was looked at. */
  async start(): Promise<void> {
    await mkdir(this.#config.directory, { recursive: true });
    await this.#archive.open();
    await this.#restoreEntries();
    if (this.#config.watch) {
      this.#watcher = await watchDirectory(this.#config.directory, {
        changed: (file) => void this.#takeQuietly(file),
        removed: (file) => void this.#takeQuietly(file),
        failed: (error) => this.#config.onFault(error, "watching the module directory"),
      });
    }
    const files = await this.#directory.list();
    const owned = new Set([...this.#catalog.entries.values()].filter((entry) => !entry.retired).map((entry) => entry.file));
    for (const file of [...files.filter((name) => owned.has(name)), ...files.filter((name) => !owned.has(name))]) await this.#takeQuietly(file);
    for (const entry of this.#catalog.entries.values()) {
      if (entry.active === null && !entry.retired) await this.#recover(entry, files.includes(entry.file));
    }
    void this.#loadSuperseded();
  }

  async #restoreEntries(): Promise<void> {
    for (const module of await this.#ledger.listModules()) {
      const records = await this.#ledger.listRevisions(module.module);
      const kept = await Promise.all(records.map(async (record) => record.state !== "SUPERSEDED" || this.#config.shared !== undefined || (await this.#archive.has(record.digest))));
      this.#catalog.entries.set(module.module, ModuleEntry.restored(module, records.filter((_, at) => kept[at])));
    }
  }

  /** A module that the ledger knows and no file gave: retired, or served from the archive (invariant 2). */
  async #recover(entry: ModuleEntry, fileThere: boolean): Promise<void> {
    const digest = entry.activeDigest;
    if (!fileThere) return this.#lanes.run(moduleLane(entry.name), () => this.#succession.retire(entry));
    if (digest === null) return;
    try {
      const revision = await this.#shelf.load(digest);
      if (entry.active === null) entry.active = revision;
    } catch (thrown) {
      entry.lastError ??= SirsiError.from(thrown).toPlain();
      this.#config.onFault(SirsiError.from(thrown), `loading module ${entry.name} from the archive`);
    }
  }

  /** So that name@version finds them at once; a failure shows when one is asked for. */
  async #loadSuperseded(): Promise<void> {
    for (const entry of this.#catalog.entries.values()) {
      for (const record of entry.superseded()) {
        if (this.#closed) return;
        await this.#shelf.load(record.digest).catch(() => undefined);
      }
    }
  }

  /** Ends watching and admission; what is being done ends with SHUTTING_DOWN. Repeatable. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#watcher?.close();
    await this.#admission.close();
    await this.#lanes.idle();
    this.#subscribers.clear();
  }

  /** Called with each event, in order, before the operation that caused it resolves. Must not throw. */
  subscribe(subscriber: (event: RegistryEvent) => void): () => void {
    this.#subscribers.add(subscriber);
    return () => void this.#subscribers.delete(subscriber);
  }

  #emit(event: RegistryEvent): void {
    if (event.kind === "retired") for (const [file, name] of this.#shadowed) if (name === event.module) void this.#takeQuietly(file);
    for (const subscriber of this.#subscribers) {
      try {
        subscriber(event);
      } catch (thrown) {
        this.#config.onFault(SirsiError.from(thrown), "telling a subscriber of the module registry");
      }
    }
  }

  // -- Questions ------------------------------------------------------------------------------

  /** The revision that a new agent of `name`, `name@version` or a whole digest gets. Throws SirsiError. */
  resolve(agentType: string): Revision {
    return this.#catalog.resolve(agentType);
  }

  /** Any revision that an agent may still run on, superseded and retired ones included. */
  revisionByDigest(digest: string): Promise<Revision> {
    return this.#shelf.load(digest);
  }

  /** The same in the code of an earlier preparer, for an agent that is suspended in it; null when that is no longer kept. */
  revisionPreparedBy(digest: string, preparation: string): Promise<Revision | null> {
    return this.#shelf.preparedBy(digest, preparation);
  }

  /** Where an agent that comes to memory belongs by now; null where it is. */
  successorOf(name: string, digest: string, createdAt: number): Successor | null {
    return this.#catalog.successorOf(name, digest, createdAt);
  }

  refusalOf(digest: string): string {
    return this.#catalog.refusalOf(digest);
  }

  /** Null when they are not kept. */
  async bytesOf(digest: string): Promise<Uint8Array | null> {
    return (await this.#archive.get(digest))?.bytes ?? null;
  }

  list(): ModuleView[] {
    return this.#catalog.list();
  }

  /** MODULE_NOT_FOUND with the nearest name. */
  get(name: string): ModuleView {
    return this.#catalog.view(this.#catalog.require(name));
  }

  // -- Use ------------------------------------------------------------------------------------

  retain(digest: string): void {
    this.#shelf.retain(digest);
  }

  release(digest: string): void {
    if (!this.#shelf.release(digest)) return;
    const entry = this.#catalog.ofDigest(digest);
    if (entry !== null) void this.#quietly("forgetting old revisions", this.#lanes.run(moduleLane(entry.name), () => this.#succession.forgetOld(entry)));
    else if (this.#config.shared !== undefined) void this.#quietly("forgetting a revision of other hosts", this.#succession.forgetForeign(digest));
  }

  /**
   * Every agent that the store holds has retained its revision: from here on, those that
   * nobody needs may be forgotten. Before it none is.
   */
  allowForgetting(): void {
    this.#succession.allowForgetting();
  }

  // -- Operators ------------------------------------------------------------------------------

  /** From the next admission on; a module that waits for approval needs a reload. */
  setPolicy(policy: AdmissionPolicy): void {
    this.#admission.setPolicy(policy);
  }

  /**
   * Writes the bytes to the module directory and takes them as its module's revision. Throws
   * when they are rejected. `file`: its name there, for a module that is not known yet.
   */
  async install(bytes: Uint8Array, { validateOnly, file: wanted = "" }: { readonly validateOnly: boolean; readonly file?: string }): Promise<InstallOutcome> {
    const first = await this.#admission.admit(bytes, { sidecar: null, ungranted: "pending" });
    const name = this.#nameOf(first);
    const file = this.#catalog.entries.get(name)?.file ?? (isModuleFile(wanted) ? wanted : `${name}${MODULE_EXTENSION}`);
    return this.#lanes.run(fileLane(file), async () => {
      const sidecar = await this.#directory.readSidecar(file);
      const outcome = sidecar === null ? first : await this.#admission.admit(bytes, { sidecar, ungranted: "pending" });
      this.#nameOf(outcome);
      this.#requireFree(file, name);
      return validateOnly ? looked(name, outcome) : await this.#put(file, { bytes, sidecar }, outcome);
    });
  }

  /** The bytes become the module's file, and are taken from there. */
  async #put(file: string, content: ModuleFile, outcome: AdmissionOutcome): Promise<SuccessfulTake> {
    await this.#directory.write(file, content.bytes);
    faultPoint("module.file-written");
    return successful(await this.#apply(file, content, outcome, { force: false, asked: true }));
  }

  /** Reads the module's file again and admits it afresh. Throws when it is rejected. */
  async reload(name: string, { validateOnly } = CHANGE): Promise<InstallOutcome> {
    const { file } = this.#catalog.require(name);
    this.#requireFree(file, name);
    if (validateOnly) return await this.#lanes.run(fileLane(file), () => this.#look(file, name));
    const taken = await this.#take(file, { force: true, asked: true });
    if (taken.kind === "gone") throw fileIsGone(name);
    return successful(taken);
  }

  async #look(file: string, name: string): Promise<InstallOutcome> {
    const content = await this.#directory.read(file);
    if (content === null) throw fileIsGone(name);
    return looked(name, await this.#admission.admit(content.bytes, { sidecar: content.sidecar, ungranted: "pending" }));
  }

  /** Takes an earlier revision again: `digest`, whole or its beginning, or null for the one before. */
  async rollback(name: string, digest: string | null, { validateOnly } = CHANGE): Promise<InstallOutcome> {
    const entry = this.#catalog.require(name);
    const { file } = entry;
    return this.#lanes.run(fileLane(file), async () => {
      this.#requireFree(file, name);
      const target = entry.rollbackTarget(digest);
      const kept = await this.#archive.get(target.digest);
      if (kept === null) throw new SirsiError("MODULE_NO_PREVIOUS", `revision ${target.digest.slice(0, 12)} of module ${name} is no longer kept; install it again`);
      const content = { bytes: kept.bytes, sidecar: await this.#directory.readSidecar(file) };
      const outcome = await this.#admission.admit(content.bytes, { sidecar: content.sidecar, ungranted: "pending" });
      if (outcome.kind !== "admitted") throw SirsiError.revive(outcome.error);
      return validateOnly ? looked(name, outcome) : await this.#put(file, content, outcome);
    });
  }

  /** Removes the module's file and retires it. Its sidecar stays: it is the operator's word on whatever comes next. */
  async remove(name: string): Promise<ModuleView> {
    const entry = this.#catalog.require(name);
    await this.#lanes.run(fileLane(entry.file), async () => {
      if (entry.retired) return;
      await this.#directory.remove(entry.file);
      await this.#fileGone(entry.file);
    });
    return this.#catalog.view(entry);
  }

  /** What is to be known of a module beside its state; null takes it back. */
  remark(name: string, error: SirsiError | null): void {
    const entry = this.#catalog.entries.get(name);
    if (entry !== undefined) entry.lastError = error?.toPlain() ?? null;
  }

  /** In a fleet a revision becomes active on one host after the other: tells when the last had it. Null: as here. */
  dateBy(since: (module: string, digest: string) => number | null): void {
    this.#catalog.since = since;
  }

  /** The sidecar that lies here for bytes that came from elsewhere. */
  async #sidecarFor(bytes: Uint8Array): Promise<string | null> {
    const name = this.#nameOf(await this.#admission.admit(bytes, { sidecar: null, ungranted: "without" }));
    return await this.#directory.readSidecar(this.#catalog.entries.get(name)?.file ?? `${name}${MODULE_EXTENSION}`);
  }

  /** A module's file may have become another's, once it was retired or when it never served. */
  #requireFree(file: string, name: string): void {
    const owner = this.#catalog.ofFile(file);
    if (owner === null || owner.name === name || owner.active === null) return;
    throw new SirsiError("MODULE_REJECTED", `${file} in the module directory provides module ${owner.name}, so it cannot be module ${name}'s; rename that file`);
  }

  // -- Candidates -----------------------------------------------------------------------------

  /** The revision that waits to take the module's active one's place. */
  candidateOf(name: string): Revision | null {
    return this.#catalog.entries.get(name)?.candidate?.to ?? null;
  }

  /** Makes the module's candidate active. Repeatable. MODULE_REJECTED when it is its candidate no longer. */
  async activate(name: string, digest: string): Promise<void> {
    await this.#within(name, (entry) => this.#succession.activate(entry, digest));
  }

  /** The candidate is not to be taken, for this reason: not at the next start either, until somebody asks for it. */
  async reject(name: string, revision: Revision, reason: string): Promise<void> {
    await this.#within(name, (entry) => this.#succession.reject(entry, revision, reason));
  }

  /** The candidate goes, and may come again. */
  async withdraw(name: string, digest: string): Promise<void> {
    await this.#within(name, (entry) => Promise.resolve(this.#succession.withdraw(entry, digest)));
  }

  /** `from`, which is active, is not kept: `to` is active again. Repeatable. */
  async revert(name: string, from: Revision, to: Revision, reason: string): Promise<void> {
    await this.#within(name, (entry) => this.#succession.revert(entry, from, to, reason));
  }

  #within(name: string, act: (entry: ModuleEntry) => Promise<void>): Promise<void> {
    return this.#lanes.run(moduleLane(name), () => act(this.#catalog.require(name)));
  }

  #nameOf(outcome: AdmissionOutcome): string {
    if (outcome.kind === "rejected") throw SirsiError.revive(outcome.error);
    return outcome.kind === "admitted" ? outcome.revision.manifest.name : outcome.manifest.name;
  }

  // -- From file to revision --------------------------------------------------------------------

  async #takeQuietly(file: string): Promise<void> {
    await this.#quietly(`taking ${file}`, this.#take(file, { force: false, asked: false }));
  }

  async #quietly(what: string, work: Promise<unknown>): Promise<void> {
    try {
      await work;
    } catch (thrown) {
      const error = SirsiError.from(thrown);
      if (error.code === "SHUTTING_DOWN" && this.#closed) return;
      this.#config.onFault(error, what);
    }
  }

  #take(file: string, manner: TakeManner): Promise<TakeOutcome> {
    return this.#lanes.run(fileLane(file), async () => {
      let content: ModuleFile | null;
      try {
        content = await this.#directory.read(file);
      } catch (thrown) {
        return this.#refuse({ file, digest: "", name: "", version: "", sizeBytes: 0, error: SirsiError.from(thrown).toPlain() });
      }
      if (content === null) return this.#fileGone(file);
      const entry = this.#catalog.ofFile(file);
      const active = entry?.active ?? null;
      const digest = digestOf(content.bytes);
      if (!manner.force && entry !== null && active !== null && entry.candidate === null && active.digest === digest && entry.activeSidecar === content.sidecar) {
        entry.lastError = null;
        return { kind: "unchanged", module: entry.name, revision: active };
      }
      if (!manner.asked && entry?.turnedDown === digest && entry.lastError !== null) return { kind: "rejected", module: entry.name, file, digest, error: entry.lastError };
      const outcome = await this.#admission.admit(content.bytes, { sidecar: content.sidecar, ungranted: "pending" });
      return this.#apply(file, content, outcome, manner);
    });
  }

  /** Within the file's lane. */
  #apply(file: string, content: ModuleFile, outcome: AdmissionOutcome, manner: TakeManner): Promise<TakeOutcome> {
    const sizeBytes = content.bytes.length;
    switch (outcome.kind) {
      case "admitted":
        return this.#lanes.run(moduleLane(outcome.revision.manifest.name), () => this.#admitted(file, content, outcome.revision, manner));
      case "pending": {
        const { name, version } = outcome.manifest;
        return this.#lanes.run(moduleLane(name), () => this.#wait(outcome, { file, digest: outcome.digest, name, version, sizeBytes, error: outcome.error }));
      }
      case "rejected": {
        const name = outcome.name ?? "";
        const refusal = { file, digest: outcome.digest, name, version: outcome.version ?? "", sizeBytes, error: outcome.error };
        return this.#lanes.run(moduleLane(name), () => this.#refuse(refusal));
      }
    }
  }

  async #admitted(file: string, content: ModuleFile, revision: Revision, manner: TakeManner): Promise<TakeOutcome> {
    const { name, version } = revision.manifest;
    const { digest, sizeBytes } = revision;
    const holder = await this.#holderOf(name, file);
    if (holder !== null) return this.#shadow(holder, { file, digest, name, version, sizeBytes, error: new SirsiError("MODULE_REJECTED", `module ${name} is provided by ${holder.file} already; remove one of the two files, or give one another name in its manifest`).toPlain() });
    this.#shadowed.delete(file);
    return this.#succession.take(file, content, revision, manner);
  }

  /** The module of this name when another file that is still there provides it. */
  async #holderOf(name: string, file: string): Promise<ModuleEntry | null> {
    const holder = this.#catalog.entries.get(name);
    if (holder === undefined || holder.retired || holder.file === file || holder.activeDigest === null) return null;
    return (await this.#directory.list()).includes(holder.file) ? holder : null;
  }

  async #wait(outcome: Extract<AdmissionOutcome, { kind: "pending" }>, refusal: Refusal): Promise<TakeOutcome> {
    const holder = await this.#holderOf(refusal.name, refusal.file);
    if (holder !== null) return this.#shadow(holder, refusal);
    const entry = await this.#note(refusal, "PENDING_APPROVAL");
    const { digest, missing, manifest, error } = outcome;
    const event = { kind: "pending", module: entry?.name ?? refusal.name, digest, missing, manifest, error } as const;
    this.#emit(event);
    return event;
  }

  async #refuse(refusal: Refusal): Promise<TakeOutcome> {
    await this.#note(refusal, "REJECTED");
    return this.#tellRefusal(refusal);
  }

  /** Refused because `holder`'s file has the name; tried again when that file is gone (invariant 5). */
  async #shadow(holder: ModuleEntry, refusal: Refusal): Promise<TakeOutcome> {
    this.#shadowed.set(refusal.file, holder.name);
    await this.#note({ ...refusal, name: "" }, "REJECTED");
    return this.#tellRefusal(refusal);
  }

  #tellRefusal({ file, digest, name, error }: Refusal): TakeOutcome {
    const event = { kind: "rejected", module: name, file, digest, error } as const;
    this.#emit(event);
    return event;
  }

  /** Writes down why a file was not taken, with the module it belongs to or, failing that, one named after the file. */
  async #note(refusal: Refusal, state: "REJECTED" | "PENDING_APPROVAL"): Promise<ModuleEntry | null> {
    const { file, digest, name, version, sizeBytes, error } = refusal;
    const named = this.#catalog.entries.get(name);
    const entry = (named?.file === file || named?.retired === true ? named : null) ?? this.#catalog.ofFile(file) ?? this.#newEntry(name, file);
    if (entry === null) return null;
    if (!entry.retired) entry.file = file;
    if (entry.file === file) entry.candidate = null; // what the file held before is gone
    entry.lastError = error;
    if (entry.name !== name || entry.hasServed(digest)) return entry;
    const record: LedgerRevision = { digest, module: name, version, state, reason: error.message, sizeBytes, installedAt: this.#config.clock.now() };
    await this.#ledger.putRevision(record);
    entry.record(record);
    return entry;
  }

  #newEntry(name: string, file: string): ModuleEntry | null {
    const stem = file.slice(0, -MODULE_EXTENSION.length);
    const free = [name, stem].find((candidate) => MODULE_NAME.test(candidate) && !this.#catalog.entries.has(candidate));
    if (free === undefined) return null;
    const entry = new ModuleEntry(free, file);
    this.#catalog.entries.set(free, entry);
    return entry;
  }

  /** Within the file's lane. */
  async #fileGone(file: string): Promise<TakeOutcome> {
    this.#shadowed.delete(file);
    const entry = this.#catalog.ofFile(file);
    if (entry === null) return { kind: "gone", module: "" };
    await this.#lanes.run(moduleLane(entry.name), () => this.#succession.retire(entry));
    return { kind: "gone", module: entry.name };
  }
}

function fileLane(file: string): string {
  return `file:${file}`;
}

function moduleLane(name: string): string {
  return `module:${name}`;
}

const CHANGE = { validateOnly: false };
