/** The modules by name, file and digest, and what is answered about them. */
import { SirsiError } from "../core/errors.ts";
import { nearest } from "./manifest.ts";
import type { ModuleEntry } from "./module-entry.ts";
import type { LedgerRevision } from "./module-ledger.ts";
import type { ModuleView } from "./registry-types.ts";
import type { Revision } from "./revision.ts";

const DIGEST = /^[0-9a-f]{64}$/;

/** Where an agent belongs by now. */
export interface Successor {
  readonly revision: Revision;
  /** The revision it is on was not kept. */
  readonly refused: boolean;
}

export class ModuleCatalog {
  readonly entries = new Map<string, ModuleEntry>();
  readonly #loaded: (digest: string) => Revision | null;
  /** When a module's active revision came to be everywhere; null for when it did here. */
  since: (module: string, digest: string) => number | null = () => null;

  /** `loaded` finds a revision that is in memory; null for one that is not. */
  constructor(loaded: (digest: string) => Revision | null) {
    this.#loaded = loaded;
  }

  /** The revision that a new agent of `name`, `name@version` or a whole digest gets. Throws SirsiError. */
  resolve(agentType: string): Revision {
    const at = agentType.indexOf("@");
    const entry = DIGEST.test(agentType) ? this.ofDigest(agentType) : this.entries.get(at < 0 ? agentType : agentType.slice(0, at));
    if (entry === null || entry === undefined) {
      const active = [...this.entries.values()].filter((other) => other.active !== null).map((other) => other.name);
      throw new SirsiError("AGENT_TYPE_NOT_FOUND", `no module provides agent type ${JSON.stringify(agentType.slice(0, 160))}; ${nearest(agentType, active.toSorted())}`, { metadata: { agent_type: agentType.slice(0, 160) } });
    }
    if (entry.retired) throw new SirsiError("MODULE_RETIRED", `module ${entry.name} was removed: its running agents finish and new ones are refused; install it again`, { metadata: { module: entry.name } });
    if (DIGEST.test(agentType)) return this.#servedOf(entry, (record) => record.digest === agentType, agentType);
    if (at >= 0) return this.#servedOf(entry, (record) => record.version === agentType.slice(at + 1), agentType);
    if (entry.active !== null) return entry.active;
    if (entry.lastError?.code === "MODULE_PENDING_APPROVAL") throw SirsiError.revive(entry.lastError);
    throw new SirsiError("AGENT_TYPE_NOT_FOUND", `module ${entry.name} has no revision that was admitted: ${entry.lastError?.message ?? "its file was never taken"}`, { metadata: { module: entry.name } });
  }

  #servedOf(entry: ModuleEntry, wanted: (record: LedgerRevision) => boolean, asked: string): Revision {
    const served = entry.records.filter((record) => entry.hasServed(record.digest));
    const loaded = served.filter(wanted).map((record) => (entry.active?.digest === record.digest ? entry.active : this.#loaded(record.digest)));
    const found = loaded.find((revision) => revision === entry.active) ?? loaded.find((revision) => revision !== null);
    if (found !== null && found !== undefined) return found;
    const waiting = entry.records.find((record) => record.state === "PENDING_APPROVAL" && wanted(record));
    if (waiting !== undefined) throw new SirsiError("MODULE_PENDING_APPROVAL", waiting.reason, { metadata: { module: entry.name } });
    const versions = [...new Set(served.map((record) => record.version))].join(", ");
    throw new SirsiError("AGENT_TYPE_NOT_FOUND", `module ${entry.name} has no such revision (${asked.slice(0, 160)}); it has ${versions === "" ? "none" : versions}`, { metadata: { module: entry.name } });
  }

  /**
   * For an agent of `name` that was made at `createdAt` and is on `digest`; null where it is.
   * One made on an older revision while another was active was asked for by its version, and stays.
   */
  successorOf(name: string, digest: string, createdAt: number): Successor | null {
    const entry = this.entries.get(name);
    const active = entry?.active ?? null;
    if (entry === undefined || active === null || active.digest === digest || active.manifest.onSwap === "keep") return null;
    if (!entry.hasServed(digest)) return { revision: active, refused: true };
    const activeSince = this.since(name, active.digest) ?? entry.records.find((record) => record.digest === active.digest)?.installedAt ?? 0;
    return createdAt < activeSince ? { revision: active, refused: false } : null;
  }

  /** Why a revision is not to serve; empty for one that may, and for one that nobody knows. */
  refusalOf(digest: string): string {
    for (const entry of this.entries.values()) {
      const record = entry.records.find((other) => other.digest === digest);
      if (record !== undefined) return record.state === "REJECTED" ? record.reason : "";
    }
    return "";
  }

  list(): ModuleView[] {
    return [...this.entries.values()].map((entry) => this.view(entry)).toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }

  view(entry: ModuleEntry): ModuleView {
    const { name, state, file, active, lastError } = entry;
    const revisions = entry.records.map((record) => ({ record, revision: active?.digest === record.digest ? active : this.#loaded(record.digest) }));
    return { name, state, file, active, revisions, lastError };
  }

  require(name: string): ModuleEntry {
    const entry = this.entries.get(name);
    if (entry !== undefined) return entry;
    throw new SirsiError("MODULE_NOT_FOUND", `no module is named ${JSON.stringify(name.slice(0, 80))}; ${nearest(name, [...this.entries.keys()].toSorted())}`, { metadata: { module: name.slice(0, 80) } });
  }

  ofDigest(digest: string): ModuleEntry | null {
    return [...this.entries.values()].find((entry) => entry.hasServed(digest)) ?? null;
  }

  ofFile(file: string): ModuleEntry | null {
    return [...this.entries.values()].find((entry) => entry.file === file && !entry.retired) ?? null;
  }
}
