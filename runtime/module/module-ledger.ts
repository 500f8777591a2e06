/**
 * What the registry needs of a store. The records are the store's own; it satisfies this
 * structurally. A promise that resolves means "on disk".
 */

export type RevisionStateName = "ACTIVE" | "SUPERSEDED" | "REJECTED" | "PENDING_APPROVAL";

export interface LedgerRevision {
  readonly digest: string;
  readonly module: string;
  readonly version: string;
  readonly state: RevisionStateName;
  /** Why it is REJECTED or PENDING_APPROVAL; empty otherwise. */
  readonly reason: string;
  readonly sizeBytes: number;
  /** When it last became active, or was refused; milliseconds since 1970. */
  readonly installedAt: number;
}

export interface LedgerModule {
  readonly module: string;
  readonly activeDigest: string | null;
  readonly retired: boolean;
  /** In the module directory. */
  readonly file: string;
}

export interface ModuleLedger {
  /** Both in one go. */
  putModule(module: LedgerModule, revision: LedgerRevision | null): Promise<void>;
  putRevision(revision: LedgerRevision): Promise<void>;
  listModules(): Promise<LedgerModule[]>;
  /** Newest first. */
  listRevisions(module: string): Promise<LedgerRevision[]>;
  /** Agents that have not ended, asleep ones too, by the digest of their revision. */
  countByDigest(module: string): Promise<ReadonlyMap<string, number>>;
}
