/** Revisions made in the test's own thread, without the registry. */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { DEFAULT_GUEST_LIMITS, GUEST_LIMITS, type GuestLimits, type GuestLimitName } from "../../runtime/core/limits.ts";
import { SirsiError } from "../../runtime/core/errors.ts";
import { systemClock } from "../../runtime/core/clock.ts";
import { admit, type Admitted } from "../../runtime/module/admit.ts";
import { inspect, type Inspection } from "../../runtime/module/inspect.ts";
import { prepare } from "../../runtime/module/prepare.ts";
import { PreparedCache } from "../../runtime/module/prepared-cache.ts";
import { PREPARATION, type PreparedModule } from "../../runtime/module/prepared.ts";
import type { Revision } from "../../runtime/module/revision.ts";
import type { RevisionSource } from "../../runtime/agent/index.ts";
import { builtAgent, builtFixture } from "./built-agents.ts";
import { revised } from "./revised.ts";
import type { ManifestFields } from "./wat.ts";

const LIMITS_MAX = Object.fromEntries((Object.keys(GUEST_LIMITS) as GuestLimitName[]).map((name) => [name, GUEST_LIMITS[name].max])) as { [Name in GuestLimitName]: number };

export function revisionOf(bytes: Uint8Array, limits: Partial<GuestLimits> = {}, grants: readonly string[] = ["ask", "sleep"]): Revision {
  const inspection = inspect(bytes, null, MODULE_MAX_BYTES);
  const admitted = admittedAs(inspection, limits, grants);
  return made(inspection, admitted, prepare(bytes, inspection, admitted.limits.memoryMaxBytes));
}

/** The same, prepared once and kept on disk for the next run: for modules that take seconds. */
export async function keptRevision(bytes: Uint8Array, limits: Partial<GuestLimits> = {}, grants: readonly string[] = ["ask", "sleep"]): Promise<Revision> {
  const inspection = inspect(bytes, null, MODULE_MAX_BYTES);
  const admitted = admittedAs(inspection, limits, grants);
  const digest = createHash("sha256").update(inspection.digest).update(PREPARER).digest("hex");
  const name = { digest, preparation: PREPARATION, memoryMaxBytes: admitted.limits.memoryMaxBytes };
  const known = await keptModules.read(name);
  const prepared = known ?? prepare(bytes, inspection, admitted.limits.memoryMaxBytes);
  if (known === null) await keptModules.write(name, { ...prepared, prepareTimeMs: 0 });
  return made(inspection, admitted, prepared);
}

/** The preparer's source: what one version of it made is not kept for the next. */
const PREPARER = readdirSync(new URL("../../runtime/module/", import.meta.url))
  .toSorted()
  .map((file) => readFileSync(new URL(`../../runtime/module/${file}`, import.meta.url), "utf8"))
  .join("");
const MODULE_MAX_BYTES = 32 * 1024 * 1024;
const keptModules = new PreparedCache(new URL("../../.cache/test-prepared", import.meta.url).pathname, 256 * 1024 * 1024, systemClock);

function admittedAs(inspection: Inspection, limits: Partial<GuestLimits>, grants: readonly string[]): Admitted {
  return admit(inspection, { limits: { ...DEFAULT_GUEST_LIMITS, ...limits }, limitsMax: LIMITS_MAX, defaultGrants: grants, grants: {} });
}

function made(inspection: Inspection, admitted: Admitted, prepared: PreparedModule): Revision {
  return {
    digest: inspection.digest,
    manifest: admitted.manifest,
    limits: admitted.limits,
    grants: admitted.grants,
    compiled: new WebAssembly.Module(prepared.wasm),
    preparation: PREPARATION,
    globals: prepared.globals,
    canWait: prepared.canWait,
    uncapturable: inspection.uncapturable,
    sizeBytes: inspection.sizeBytes,
    preparedSizeBytes: prepared.wasm.length,
    prepareTimeMs: 0,
    imports: inspection.imports,
    exports: inspection.exports,
  };
}

export async function builtRevision(folder: string, limits: Partial<GuestLimits> = {}): Promise<Revision> {
  return keptRevision(readFileSync((await builtAgent(folder)).file), limits);
}

/** An agent of tests/fixtures/agents, under a manifest changed by `changes`. */
export async function fixtureRevision(folder: string, changes: ManifestFields = {}, limits: Partial<GuestLimits> = {}, grants?: readonly string[]): Promise<Revision> {
  const bytes = readFileSync((await builtFixture(folder)).file);
  return keptRevision(Object.keys(changes).length === 0 ? bytes : revised(bytes, changes), limits, grants);
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
