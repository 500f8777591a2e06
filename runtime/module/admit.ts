/**
 * Holds an inspected module against the guest contract and the host's policy.
 * Pure: what it decides depends on its arguments alone.
 */
import { ABORT_IMPORT, GUEST_EXPORTS, GUEST_IMPORTS, IMPORT_MODULE, PREPARED } from "../contract/guest-abi.ts";
import { SirsiError } from "../core/errors.ts";
import { GUEST_LIMITS, type GuestLimitName, type GuestLimits } from "../core/limits.ts";
import type { Inspection } from "./inspect.ts";
import { nearest } from "./manifest.ts";
import { HOST_CAPABILITIES, type HostCapability, type Manifest } from "./revision.ts";
import type { FunctionType, ValueType, WasmShape } from "./wasm-shape.ts";

export interface AdmissionPolicy {
  /** What a module gets that states nothing. */
  readonly limits: GuestLimits;
  /** The most a manifest may ask for. */
  readonly limitsMax: GuestLimits;
  /** For a module that `grants` does not name. */
  readonly defaultGrants: readonly string[];
  /** By module name, in place of `defaultGrants`. */
  readonly grants: Readonly<Record<string, readonly string[]>>;
}

export interface Admitted {
  /** With the sidecar applied. */
  readonly manifest: Manifest;
  readonly limits: GuestLimits;
  readonly grants: readonly HostCapability[];
  /** Requested and not granted; not empty means that the revision waits for approval. */
  readonly missing: readonly HostCapability[];
}

const PAGE_BYTES = 65_536;
/** Tables live outside the memory limit, so their size is bounded here, in entries. */
const TABLES_MAX = 16;
const TABLE_MAX_ENTRIES = 65_536;
/** Filling, copying or growing a table costs one fuel whatever its size; small ones only. */
const CHANGING_TABLE_MAX_ENTRIES = 4_096;
/** memory.init costs one fuel whatever its length; small segments only. */
const PASSIVE_DATA_MAX_BYTES = 64 * 1024;

const signature = (params: ValueType[], results: ValueType[]): FunctionType => ({ params, results });

const IMPORT_TYPES: ReadonlyMap<string, FunctionType> = new Map([
  [`${IMPORT_MODULE}.${GUEST_IMPORTS.log}`, signature(["i32", "i32", "i32"], [])],
  [`${IMPORT_MODULE}.${GUEST_IMPORTS.now}`, signature([], ["i64"])],
  [`${IMPORT_MODULE}.${GUEST_IMPORTS.random}`, signature(["i32", "i32"], [])],
  [`${IMPORT_MODULE}.${GUEST_IMPORTS.emit}`, signature(["i32", "i32"], [])],
  [`${IMPORT_MODULE}.${GUEST_IMPORTS.request}`, signature(["i32", "i32"], ["i64"])],
  [`${ABORT_IMPORT.module}.${ABORT_IMPORT.name}`, signature(["i32", "i32", "i32", "i32"], [])],
]);

const EXPORT_TYPES: ReadonlyMap<string, FunctionType> = new Map([
  [GUEST_EXPORTS.abi, signature([], ["i32"])],
  [GUEST_EXPORTS.alloc, signature(["i32"], ["i32"])],
  [GUEST_EXPORTS.free, signature(["i32"], [])],
  [GUEST_EXPORTS.call, signature(["i32", "i32"], ["i64"])],
]);

function reject(reason: string): never {
  throw new SirsiError("MODULE_REJECTED", reason);
}

/** Throws MODULE_REJECTED with the reason. Missing grants are no error: they are told in `missing`. */
export function admit(inspection: Inspection, policy: AdmissionPolicy): Admitted {
  const { shape } = inspection;
  checkImports(shape);
  checkExports(shape);
  checkTables(shape);
  checkSegments(shape);
  const limits = effectiveLimits(inspection, policy);
  checkMemory(shape, limits.memoryMaxBytes);
  const manifest = effectiveManifest(inspection);
  checkCapturable(inspection.uncapturable, manifest);
  const requests = manifest.requests.map(requireCapability);
  const granted = new Set(Object.hasOwn(policy.grants, manifest.name) ? policy.grants[manifest.name] : policy.defaultGrants);
  return {
    manifest,
    limits,
    grants: requests.filter((capability) => granted.has(capability)),
    missing: requests.filter((capability) => !granted.has(capability)),
  };
}

/** A checkpoint that misses part of the state would bring back another agent. */
function checkCapturable(uncapturable: string, { durability }: Manifest): void {
  if (uncapturable === "" || durability === "none") return;
  reject(`its agents' state cannot be kept whole: ${uncapturable}; say durability "none" in its manifest, or build it without that`);
}

function checkImports(shape: WasmShape): void {
  for (const entry of shape.imports) {
    const name = `${entry.module}.${entry.name}`;
    const wanted = IMPORT_TYPES.get(name);
    if (wanted === undefined) {
      reject(`it imports ${quoted(name)} (${entry.kind}), which the host does not offer; ${nearest(name, [...IMPORT_TYPES.keys()])}`);
    }
    if (entry.type === null) reject(`it imports ${name} as a ${entry.kind} and it is a function; build it with the SDK of ABI 1`);
    if (!sameType(entry.type, wanted)) reject(`it imports ${name} as ${show(entry.type)} and it is ${show(wanted)}; build it with the SDK of ABI 1`);
  }
}

function checkExports(shape: WasmShape): void {
  const byName = new Map(shape.exports.map((entry) => [entry.name, entry]));
  for (const [name, wanted] of EXPORT_TYPES) {
    const entry = byName.get(name);
    if (entry === undefined) reject(`it does not export ${name}; build it with the SDK of ABI 1`);
    const type = entry.kind === "func" ? shape.functions[entry.index] : undefined;
    if (type === undefined) reject(`its export ${name} is not a function; build it with the SDK of ABI 1`);
    if (entry.index < shape.importedFunctions) reject(`its export ${name} is an import handed back; export a function of its own`);
    if (!sameType(type, wanted)) reject(`its export ${name} is ${show(type)} and must be ${show(wanted)}; build it with the SDK of ABI 1`);
  }
  const reserved = shape.exports.find((entry) => entry.name.startsWith("sirsi:") || entry.name.startsWith("asyncify_"));
  if (reserved !== undefined) reject(`it exports ${quoted(reserved.name)}, a name that preparation adds (${PREPARED.fuel}, asyncify_…); rename it, and deliver the module as the compiler wrote it`);
}

function checkMemory(shape: WasmShape, maxBytes: number): void {
  const [memory] = shape.memories;
  if (memory === undefined) reject("it has no memory of its own; build it with one memory, exported as \"memory\"");
  if (shape.memories.length > 1) reject(`it has ${shape.memories.length} memories and may have one; build it for one memory`);
  if (memory.shared) reject("its memory is shared; build it without threads");
  const exported = shape.exports.find((entry) => entry.name === GUEST_EXPORTS.memory);
  if (exported?.kind !== "memory") reject(`it does not export its memory as "${GUEST_EXPORTS.memory}"; build it with the SDK of ABI 1`);
  const initialBytes = memory.initial * PAGE_BYTES;
  if (initialBytes > maxBytes) reject(`its memory starts with ${initialBytes} bytes and its limit is ${maxBytes}; lower its initial memory or raise memoryMaxBytes`);
}

function checkTables(shape: WasmShape): void {
  if (shape.tables.length > TABLES_MAX) reject(`it has ${shape.tables.length} tables and may have ${TABLES_MAX}; build it with fewer`);
  const { tableGrow, tableBulk } = shape.uses;
  for (const table of shape.tables) {
    if (table.initial > TABLE_MAX_ENTRIES) reject(`it has a table of ${table.initial} entries and a table may have ${TABLE_MAX_ENTRIES}; build it with fewer function references`);
    const most = tableGrow ? (table.maximum ?? Infinity) : table.initial;
    if ((tableGrow || tableBulk) && most > CHANGING_TABLE_MAX_ENTRIES) {
      reject(`it grows, fills or copies a table that may reach ${most === Infinity ? "any number of" : most} entries, and such a table may have ${CHANGING_TABLE_MAX_ENTRIES}; declare that maximum, or build it without reference types`);
    }
  }
}

function checkSegments(shape: WasmShape): void {
  if (shape.uses.memoryInit && shape.passiveDataMaxBytes > PASSIVE_DATA_MAX_BYTES) {
    reject(`it copies from a passive data segment of ${shape.passiveDataMaxBytes} bytes, and such a segment may have ${PASSIVE_DATA_MAX_BYTES}; build it with active segments`);
  }
  if (shape.uses.bulkMemory && shape.passiveSegments > 0) {
    reject("it uses memory.copy or memory.fill together with passive segments, so that their cost cannot be metered; build it with active segments");
  }
}

function effectiveLimits(inspection: Inspection, policy: AdmissionPolicy): GuestLimits {
  const { manifest, sidecar } = inspection;
  const names = Object.keys(GUEST_LIMITS) as GuestLimitName[];
  const entries = names.map((name) => {
    const most = policy.limitsMax[name];
    const stated = manifest.limits[name];
    const narrowed = sidecar.limits[name];
    if (stated !== undefined && stated > most && narrowed === undefined) {
      reject(`its manifest asks for ${name} = ${stated} and this host allows ${most}; lower it, or narrow it in the sidecar, or raise the host's maximum`);
    }
    const unnarrowed = stated ?? Math.min(policy.limits[name], most);
    if (narrowed !== undefined && narrowed > unnarrowed) {
      reject(`its sidecar sets ${name} = ${narrowed}, more than the ${unnarrowed} it has without; a sidecar may only narrow`);
    }
    if (narrowed !== undefined && narrowed > most) reject(`its sidecar sets ${name} = ${narrowed} and this host allows ${most}; lower it`);
    return [name, narrowed ?? unnarrowed] as const;
  });
  return Object.freeze(Object.fromEntries(entries) as { [Name in GuestLimitName]: number });
}

function effectiveManifest({ manifest, sidecar }: Inspection): Manifest {
  const added = sidecar.requests?.find((request) => !manifest.requests.includes(request));
  if (added !== undefined) reject(`its sidecar requests ${quoted(added)}, which its manifest does not; a sidecar may only drop requests`);
  return { ...manifest, durability: sidecar.durability ?? manifest.durability, requests: sidecar.requests ?? manifest.requests };
}

function requireCapability(request: string): HostCapability {
  const known = HOST_CAPABILITIES.find((capability) => capability === request);
  return known ?? reject(`it requests ${quoted(request)}, which this host does not have; ${nearest(request, HOST_CAPABILITIES)}`);
}

function sameType(a: FunctionType, b: FunctionType): boolean {
  return a.params.join() === b.params.join() && a.results.join() === b.results.join();
}

function show(type: FunctionType): string {
  const list = type.params.slice(0, 8).join(", ") + (type.params.length > 8 ? ", …" : "");
  return `(${list}) -> (${type.results.slice(0, 8).join(", ")})`;
}

function quoted(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}
