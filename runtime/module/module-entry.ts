/** One module as the registry knows it: data with a few questions, no input or output. */
import { SirsiError, type PlainError } from "../core/errors.ts";
import type { LedgerModule, LedgerRevision } from "./module-ledger.ts";
import type { ModuleStateName } from "./registry-types.ts";
import type { Revision } from "./revision.ts";

const DIGEST_PREFIX = /^[0-9a-f]{8,64}$/;

export interface HeldCandidate {
  readonly from: Revision;
  readonly to: Revision;
  readonly file: string;
  /** The sidecar that it was admitted under. */
  readonly sidecar: string | null;
}

export class ModuleEntry {
  readonly name: string;
  file: string;
  retired = false;
  active: Revision | null = null;
  /** The sidecar that the active revision was admitted under. */
  activeSidecar: string | null = null;
  /** What would take the active revision's place. */
  candidate: HeldCandidate | null = null;
  /** Digest of the last candidate that was turned down, while its file lies there: it is not taken again unasked. */
  turnedDown: string | null = null;
  lastError: PlainError | null = null;
  /** Newest first. */
  #records: LedgerRevision[] = [];

  constructor(name: string, file: string) {
    this.name = name;
    this.file = file;
  }

  /** As the ledger has it, before anything is loaded. */
  static restored(module: LedgerModule, records: readonly LedgerRevision[]): ModuleEntry {
    const entry = new ModuleEntry(module.module, module.file);
    entry.retired = module.retired;
    // A crash between two writes may leave two ACTIVE; the module's own record decides.
    entry.#records = records.map((record) => (record.state === "ACTIVE" && record.digest !== module.activeDigest ? { ...record, state: "SUPERSEDED" } : record));
    return entry;
  }

  get records(): readonly LedgerRevision[] {
    return this.#records;
  }

  get state(): ModuleStateName {
    if (this.active !== null) return "ACTIVE";
    return this.retired ? "RETIRED" : "FAILED";
  }

  /** Digest of the record that is ACTIVE, loaded or not. */
  get activeDigest(): string | null {
    return this.#records.find((record) => record.state === "ACTIVE")?.digest ?? null;
  }

  /** Puts the record first, in place of an older one of the same digest. */
  record(record: LedgerRevision): void {
    this.#records = [record, ...this.#records.filter((other) => other.digest !== record.digest)];
  }

  /** Changes a record where it stands. */
  amend(record: LedgerRevision): void {
    this.#records = this.#records.map((other) => (other.digest === record.digest ? record : other));
  }

  forget(digest: string): void {
    this.#records = this.#records.filter((record) => record.digest !== digest);
  }

  /** Served once or serves now. */
  hasServed(digest: string): boolean {
    return this.#records.some((record) => record.digest === digest && (record.state === "ACTIVE" || record.state === "SUPERSEDED"));
  }

  /** Of any state: whatever it became, agents may still be on it. */
  knows(digest: string): boolean {
    return this.#records.some((record) => record.digest === digest);
  }

  superseded(): LedgerRevision[] {
    return this.#records.filter((record) => record.state === "SUPERSEDED");
  }

  /** The revision that a rollback to `wanted` (null for the one before) makes active. */
  rollbackTarget(wanted: string | null): LedgerRevision {
    const candidates = this.superseded();
    if (wanted === null) {
      const [previous] = candidates;
      if (previous !== undefined) return previous;
      throw new SirsiError("MODULE_NO_PREVIOUS", `module ${this.name} has no earlier revision to go back to; install the one wanted`);
    }
    if (!DIGEST_PREFIX.test(wanted)) {
      throw new SirsiError("INVALID_ARGUMENT", `digest must be 8 to 64 lower-case hex digits; got ${JSON.stringify(wanted.slice(0, 80))}`, {
        fields: [{ field: "digest", description: "not 8 to 64 lower-case hex digits" }],
      });
    }
    if (this.activeDigest?.startsWith(wanted) === true) throw new SirsiError("MODULE_NO_PREVIOUS", `revision ${wanted} of module ${this.name} is the active one already; nothing to do`);
    const [found, second] = candidates.filter((record) => record.digest.startsWith(wanted));
    if (found === undefined) throw new SirsiError("MODULE_NO_PREVIOUS", `module ${this.name} keeps no revision ${wanted}; see \`sirsi module inspect ${this.name}\``);
    if (second !== undefined) throw new SirsiError("INVALID_ARGUMENT", `digest ${wanted} is the beginning of more than one revision of module ${this.name}; give more digits`, { fields: [{ field: "digest", description: "ambiguous" }] });
    return found;
  }
}
