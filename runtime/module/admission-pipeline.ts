/** From bytes to a revision: inspect, admit, prepare (or take from the cache), compile. */
import type { Clock } from "../core/clock.ts";
import { SirsiError, type PlainError } from "../core/errors.ts";
import { admit, type AdmissionPolicy, type Admitted } from "./admit.ts";
import { digestOf, inspect, type Inspection } from "./inspect.ts";
import { PREPARATION, type PreparedModule } from "./prepared.ts";
import type { CachedModule, PreparedCache, PreparedName } from "./prepared-cache.ts";
import type { HostCapability, Manifest, Revision } from "./revision.ts";

export interface AdmitOptions {
  /** The text of the sidecar beside the file; null when there is none. */
  readonly sidecar: string | null;
  /**
   * What to do when a request is not granted: "pending" lets the revision wait for
   * approval; "without" admits it without, for agents that already live on it (each
   * such request is then refused when it is made).
   */
  readonly ungranted: "pending" | "without";
  /** Take what this preparer made, and refuse when it is not kept: for agents that are suspended in it. */
  readonly preparation?: string;
}

/** How an admission ended. */
export type AdmissionOutcome =
  | { readonly kind: "admitted"; readonly revision: Revision; readonly fromCache: boolean }
  | { readonly kind: "rejected"; readonly error: PlainError; readonly digest: string; readonly name: string | null; readonly version: string | null }
  | { readonly kind: "pending"; readonly error: PlainError; readonly digest: string; readonly manifest: Manifest; readonly sizeBytes: number; readonly missing: readonly HostCapability[] };

export interface PipelineTools {
  readonly policy: AdmissionPolicy;
  readonly moduleMaxBytes: number;
  readonly cache: PreparedCache;
  readonly clock: Clock;
  /** Asked for on the first miss: a warm cache never loads Binaryen. */
  readonly loadPreparer: () => Promise<(bytes: Uint8Array, inspection: Inspection, memoryMaxBytes: number) => PreparedModule>;
}

export async function runPipeline(bytes: Uint8Array, options: AdmitOptions, tools: PipelineTools): Promise<AdmissionOutcome> {
  let inspection: Inspection | null = null;
  try {
    inspection = inspect(bytes, options.sidecar, tools.moduleMaxBytes);
    const admitted = admit(inspection, tools.policy);
    if (admitted.missing.length > 0 && options.ungranted === "pending") return pending(inspection, admitted);
    const { preparation = PREPARATION } = options;
    const cached = preparation === PREPARATION ? await tools.cache.read(nameOf(inspection, admitted)) : await kept(inspection, preparation, tools);
    const prepared = cached ?? (await prepareAnew(bytes, inspection, admitted, tools));
    const compiled = compile(prepared.wasm, "after preparation");
    return { kind: "admitted", revision: revisionOf(inspection, admitted, prepared, compiled, preparation), fromCache: cached !== null };
  } catch (thrown) {
    const { name = null, version = null } = inspection?.manifest ?? {};
    return { kind: "rejected", error: SirsiError.from(thrown).toPlain(), digest: inspection?.digest ?? digestOf(bytes), name, version };
  }
}

function pending(inspection: Inspection, admitted: Admitted): AdmissionOutcome {
  const { name } = admitted.manifest;
  const missing = admitted.missing.join(", ");
  const error = new SirsiError("MODULE_PENDING_APPROVAL", `module ${name} asks for ${missing}, which it was not granted; grant it under [modules.grants] and reload the module, or drop the request in its sidecar`, {
    metadata: { module: name, missing },
  });
  return { kind: "pending", error: error.toPlain(), digest: inspection.digest, manifest: admitted.manifest, sizeBytes: inspection.sizeBytes, missing: admitted.missing };
}

function nameOf({ digest }: Inspection, { limits }: Admitted): PreparedName {
  return { digest, preparation: PREPARATION, memoryMaxBytes: limits.memoryMaxBytes };
}

/** Made by an earlier preparer, which is not there any more to make it again. */
async function kept({ digest }: Inspection, preparation: string, { cache }: PipelineTools): Promise<CachedModule> {
  const found = await cache.get(digest, preparation);
  if (found !== null) return found;
  throw new SirsiError("MODULE_NOT_FOUND", `what the preparer ${preparation} made of revision ${digest.slice(0, 12)} is no longer kept on this host, and this host's preparer is ${PREPARATION}; agents that wait in it begin their step again`);
}

async function prepareAnew(bytes: Uint8Array, inspection: Inspection, admitted: Admitted, tools: PipelineTools): Promise<CachedModule> {
  // V8's verdict first: Binaryen validates less, and trusts what it reads more.
  compile(bytes, "as it was delivered");
  const prepare = await tools.loadPreparer();
  const started = tools.clock.monotonic();
  const made = prepare(bytes, inspection, admitted.limits.memoryMaxBytes);
  const module = { ...made, prepareTimeMs: tools.clock.monotonic() - started };
  compile(module.wasm, "after preparation");
  await tools.cache.write(nameOf(inspection, admitted), module);
  return module;
}

function compile(bytes: Uint8Array, when: string): WebAssembly.Module {
  try {
    return new WebAssembly.Module(bytes);
  } catch (thrown) {
    const reason = thrown instanceof Error ? thrown.message : String(thrown);
    throw new SirsiError("MODULE_REJECTED", `it does not compile ${when} (${reason.slice(0, 300)}); build it again with a current compiler`, { cause: thrown });
  }
}

function revisionOf(inspection: Inspection, admitted: Admitted, prepared: CachedModule, compiled: WebAssembly.Module, preparation: string): Revision {
  return {
    digest: inspection.digest,
    manifest: admitted.manifest,
    limits: admitted.limits,
    grants: admitted.grants,
    compiled,
    preparation,
    globals: prepared.globals,
    canWait: prepared.canWait,
    uncapturable: inspection.uncapturable,
    sizeBytes: inspection.sizeBytes,
    preparedSizeBytes: prepared.wasm.length,
    prepareTimeMs: prepared.prepareTimeMs,
    imports: inspection.imports,
    exports: inspection.exports,
  };
}
