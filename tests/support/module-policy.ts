import { DEFAULT_GUEST_LIMITS } from "../../runtime/core/limits.ts";
import type { AdmissionPolicy } from "../../runtime/module/admit.ts";
import type { LedgerModule, LedgerRevision, ModuleLedger } from "../../runtime/module/module-ledger.ts";

/** Grants "ask" to every module and allows the default limits, no more. */
export function testPolicy(change: Partial<AdmissionPolicy> = {}): AdmissionPolicy {
  return { limits: DEFAULT_GUEST_LIMITS, limitsMax: DEFAULT_GUEST_LIMITS, defaultGrants: ["ask"], grants: {}, ...change };
}

/** A ledger that lives as long as the test, so that a registry can be opened on it twice. */
export class MemoryLedger implements ModuleLedger {
  readonly modules = new Map<string, LedgerModule>();
  readonly revisions = new Map<string, LedgerRevision>();
  /** Live agents of any module by digest. */
  readonly peopled = new Map<string, number>();

  async putModule(module: LedgerModule, revision: LedgerRevision | null): Promise<void> {
    this.modules.set(module.module, module);
    if (revision !== null) await this.putRevision(revision);
  }

  putRevision(revision: LedgerRevision): Promise<void> {
    this.revisions.delete(`${revision.module}/${revision.digest}`);
    this.revisions.set(`${revision.module}/${revision.digest}`, revision);
    return Promise.resolve();
  }

  listModules(): Promise<LedgerModule[]> {
    return Promise.resolve([...this.modules.values()]);
  }

  listRevisions(module: string): Promise<LedgerRevision[]> {
    const of = [...this.revisions.values()].filter((revision) => revision.module === module);
    return Promise.resolve(of.toReversed().toSorted((a, b) => b.installedAt - a.installedAt));
  }

  countByDigest(): Promise<ReadonlyMap<string, number>> {
    return Promise.resolve(this.peopled);
  }
}
