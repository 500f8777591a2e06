/** A store in memory that outlives the houses over it. */
import type { ModuleRecord, Store } from "../../runtime/store/store.ts";
import { MemoryStore } from "./memory-store.ts";

class KeptStore extends MemoryStore {
  listModules(): Promise<ModuleRecord[]> {
    const modules = new Set([...this.agents.values()].map(({ record }) => record.module));
    return Promise.resolve([...modules].map((module) => ({ module, activeDigest: null, retired: false, file: "" })));
  }
}

/** Houses ask nothing of it that it does not have: users, sessions' listing and modules' ledger are not theirs. */
export function keptStore(): KeptStore & Store {
  return new KeptStore() as KeptStore & Store;
}
