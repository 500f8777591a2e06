/** Revisions made in the test's own thread, without the registry. */
import { readFileSync } from "node:fs";
import { DEFAULT_GUEST_LIMITS, GUEST_LIMITS, type GuestLimits, type GuestLimitName } from "../../runtime/core/limits.ts";
import { SirsiError } from "../../runtime/core/errors.ts";
import { admit } from "../../runtime/module/admit.ts";
import { inspect } from "../../runtime/module/inspect.ts";
import { prepare } from "../../runtime/module/prepare.ts";
import { PREPARATION } from "../../runtime/module/prepared.ts";
import type { Revision } from "../../runtime/module/revision.ts";
import type { RevisionSource } from "../../runtime/agent/index.ts";
import { builtAgent } from "./built-agents.ts";

const LIMITS_MAX = Object.fromEntries((Object.keys(GUEST_LIMITS) as GuestLimitName[]).map((name) => [name, GUEST_LIMITS[name].max])) as { [Name in GuestLimitName]: number };

export function revisionOf(bytes: Uint8Array, limits: Partial<GuestLimits> = {}, grants: readonly string[] = ["ask", "sleep"]): Revision {
  const inspection = inspect(bytes, null, 32 * 1024 * 1024);
  const admitted = admit(inspection, { limits: { ...DEFAULT_GUEST_LIMITS, ...limits }, limitsMax: LIMITS_MAX, defaultGrants: grants, grants: {} });
  const prepared = prepare(bytes, inspection, admitted.limits.memoryMaxBytes);
  return {
    digest: inspection.digest,
    manifest: admitted.manifest,
    limits: admitted.limits,
    grants: admitted.grants,
    compiled: new WebAssembly.Module(prepared.wasm as Uint8Array<ArrayBuffer>),
    preparation: PREPARATION,
    globals: prepared.globals,
    canWait: prepared.canWait,
    uncapturable: inspection.uncapturable,
    sizeBytes: bytes.length,
    preparedSizeBytes: prepared.wasm.length,
    prepareTimeMs: 0,
    imports: inspection.imports,
    exports: inspection.exports,
  };
}

export async function builtRevision(folder: string, limits: Partial<GuestLimits> = {}): Promise<Revision> {
  return revisionOf(readFileSync((await builtAgent(folder)).file), limits);
}

/** Active revisions by module name; every revision it was ever given by digest. */
export class FixedRevisions implements RevisionSource {
  readonly #active = new Map<string, Revision>();
  readonly #all = new Map<string, Revision>();
  readonly uses = new Map<string, number>();

  constructor(...revisions: readonly Revision[]) {
    for (const revision of revisions) this.activate(revision);
  }

  activate(revision: Revision): void {
    this.#active.set(revision.manifest.name, revision);
    this.#all.set(revision.digest, revision);
  }

  resolve(agentType: string): Revision {
    const found = this.#active.get(agentType);
    if (found === undefined) throw new SirsiError("AGENT_TYPE_NOT_FOUND", `no module is called ${agentType}`);
    return found;
  }

  revisionByDigest(digest: string): Promise<Revision> {
    const found = this.#all.get(digest);
    return found === undefined ? Promise.reject(new SirsiError("MODULE_NOT_FOUND", `no revision ${digest}`)) : Promise.resolve(found);
  }

  retain(digest: string): void {
    this.uses.set(digest, (this.uses.get(digest) ?? 0) + 1);
  }

  release(digest: string): void {
    this.uses.set(digest, (this.uses.get(digest) ?? 0) - 1);
  }
}
