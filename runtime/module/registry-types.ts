/** What the module registry takes, shows and tells. */
import type { Clock } from "../core/clock.ts";
import type { PlainError, SirsiError } from "../core/errors.ts";
import type { Admission } from "./admission.ts";
import type { AdmissionPolicy } from "./admit.ts";
import type { LedgerRevision } from "./module-ledger.ts";
import type { HostCapability, Manifest, Revision } from "./revision.ts";
import type { SharedBytes } from "./revision-archive.ts";

export interface RegistryConfig {
  /** The module directory; made when missing. */
  readonly directory: string;
  /** The host's own directory: cache/ and revisions/ are made in it. */
  readonly dataDir: string;
  readonly policy: AdmissionPolicy;
  /** Whether files that come, change and go are noticed while the host runs. */
  readonly watch: boolean;
  /** Superseded revisions kept for each module beyond those in use. */
  readonly keepSuperseded: number;
  readonly moduleMaxBytes: number;
  readonly admitTimeoutMs: number;
  readonly cacheMaxBytes: number;
  readonly clock: Clock;
  /** Whether a revision that would take another's place waits for activate() or reject(); else it is active at once. */
  readonly holdCandidates?: boolean;
  /** Told of what went wrong in the background: watching, the ledger, a subscriber. */
  readonly onFault: (error: SirsiError, where: string) => void;
  /** In a fleet: the revisions that its hosts keep for each other. */
  readonly shared?: SharedBytes;
  /** In place of the registry's own; the registry closes it. */
  readonly admission?: Admission;
}

export const DEFAULT_KEEP_SUPERSEDED = 5;
export const DEFAULT_CACHE_MAX_BYTES = 256 * 1024 * 1024;

export type ModuleStateName = "ACTIVE" | "RETIRED" | "FAILED";

export interface RevisionView {
  readonly record: LedgerRevision;
  /** Null while it is not loaded, and for one that was never admitted. */
  readonly revision: Revision | null;
}

export interface ModuleView {
  readonly name: string;
  readonly state: ModuleStateName;
  /** Relative to the module directory. */
  readonly file: string;
  readonly active: Revision | null;
  /** Newest first. */
  readonly revisions: readonly RevisionView[];
  /** Why the newest file was not taken; null when it was. */
  readonly lastError: PlainError | null;
}

/** A revision that was admitted and would take another's place: it waits for activate() or reject(). */
export interface CandidateRevision {
  readonly module: string;
  /** What serves, or, of a retired module, what served last. */
  readonly from: Revision;
  readonly to: Revision;
  /** An operator asked for this very revision, so what was said against it before does not count. */
  readonly asked: boolean;
}

/** What became of a file, or of bytes that were installed. */
export type TakeOutcome =
  | ({ readonly kind: "candidate" } & CandidateRevision)
  | { readonly kind: "activated"; readonly module: string; readonly from: Revision | null; readonly to: Revision }
  /** It serves already. */
  | { readonly kind: "unchanged"; readonly module: string; readonly revision: Revision }
  | { readonly kind: "pending"; readonly module: string; readonly digest: string; readonly missing: readonly HostCapability[]; readonly manifest: Manifest; readonly error: PlainError }
  /** `module` is empty when the file does not even tell its name. */
  | { readonly kind: "rejected"; readonly module: string; readonly file: string; readonly digest: string; readonly error: PlainError }
  /** The file is not there. */
  | { readonly kind: "gone"; readonly module: string };

export type SuccessfulTake = Extract<TakeOutcome, { readonly kind: "activated" | "candidate" | "unchanged" | "pending" }>;

export type InstallOutcome =
  | SuccessfulTake
  /** validateOnly: it would be admitted. */
  | { readonly kind: "valid"; readonly module: string; readonly revision: Revision };

export type RegistryEvent =
  /** `from` and `to` are of one digest when only the sidecar or the policy changed. */
  | Extract<TakeOutcome, { readonly kind: "activated" | "candidate" | "pending" | "rejected" }>
  /** `from` was active and was not kept: `to` is active again. */
  | { readonly kind: "reverted"; readonly module: string; readonly from: Revision; readonly to: Revision; readonly reason: string }
  | { readonly kind: "retired"; readonly module: string; readonly last: Revision | null };
