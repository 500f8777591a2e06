/** From .wasm files to revisions: what the rest of the host may use of it. */
export { openAdmission, type Admission, type AdmissionConfig } from "./admission.ts";
export type { AdmissionOutcome, AdmitOptions } from "./admission-pipeline.ts";
export type { AdmissionPolicy } from "./admit.ts";
export type { LedgerModule, LedgerRevision, ModuleLedger } from "./module-ledger.ts";
export type { Successor } from "./module-catalog.ts";
export { ModuleRegistry } from "./module-registry.ts";
export { PREPARATION } from "./prepared.ts";
export { DEFAULT_CACHE_MAX_BYTES, DEFAULT_KEEP_SUPERSEDED } from "./registry-types.ts";
export type { SharedBytes } from "./revision-archive.ts";
export type { CandidateRevision, InstallOutcome, ModuleStateName, ModuleView, RegistryConfig, RegistryEvent, RevisionView, TakeOutcome } from "./registry-types.ts";
export * from "./revision.ts";
