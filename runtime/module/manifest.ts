/** Reads the manifest section and the sidecar beside a module file. */
import { Ajv, type ErrorObject, type ValidateFunction } from "ajv";
import { closest, distance } from "fastest-levenshtein";
import { parse as parseToml } from "smol-toml";
import { MANIFEST_SECTION } from "../contract/guest-abi.ts";
import { SirsiError } from "../core/errors.ts";
import type { GuestLimits } from "../core/limits.ts";
import { MANIFEST_SCHEMA, SIDECAR_LIMITS, SIDECAR_SCHEMA } from "./manifest-schema.ts";
import type { Durability, Manifest } from "./revision.ts";
import type { CustomSection } from "./wasm-shape.ts";

const MANIFEST_MAX_BYTES = 256 * 1024;
const SIDECAR_MAX_CHARS = 64 * 1024;

/** What NAME.toml says; null or empty where it says nothing. */
export interface Sidecar {
  readonly durability: Durability | null;
  /** The requests that are kept; null keeps all. */
  readonly requests: readonly string[] | null;
  readonly limits: Partial<GuestLimits>;
}

export const NO_SIDECAR: Sidecar = { durability: null, requests: null, limits: {} };

const ajv = new Ajv({ useDefaults: true, verbose: true, strict: true });
const checkManifest: ValidateFunction<Manifest> = ajv.compile<Manifest>(MANIFEST_SCHEMA);
const checkSidecar = new Ajv({ verbose: true }).compile<{ durability?: Durability; requests?: string[]; limits?: Record<string, number> }>(SIDECAR_SCHEMA);

/** The manifest with its defaults filled in, from the one section that must hold it. */
export function readManifest(customs: readonly CustomSection[]): Manifest {
  const sections = customs.filter((section) => section.name === MANIFEST_SECTION);
  const [section] = sections;
  if (section === undefined) throw new SirsiError("MODULE_REJECTED", `it has no ${MANIFEST_SECTION} section; build it with the SDK, which adds it`);
  if (sections.length > 1) throw new SirsiError("MODULE_REJECTED", `it has ${sections.length} ${MANIFEST_SECTION} sections and must have one; keep only the last that the build added`);
  if (section.bytes.length > MANIFEST_MAX_BYTES) throw new SirsiError("MODULE_REJECTED", `its ${MANIFEST_SECTION} section has ${section.bytes.length} bytes and may have ${MANIFEST_MAX_BYTES}; shorten it`);
  const manifest = parseJson(section.bytes);
  if (!checkManifest(manifest)) throw new SirsiError("MODULE_REJECTED", `its manifest is wrong: ${describe(checkManifest.errors)}`);
  const ids = manifest.offers.map((offer) => offer.capabilityId);
  const twice = ids.find((id, at) => ids.indexOf(id) !== at);
  if (twice !== undefined) throw new SirsiError("MODULE_REJECTED", `its manifest offers ${JSON.stringify(twice)} twice; give each offer a capabilityId of its own`);
  return manifest.displayName === "" ? { ...manifest, displayName: manifest.name } : manifest;
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)) as unknown;
  } catch (thrown) {
    const reason = thrown instanceof Error ? thrown.message : String(thrown);
    throw new SirsiError("MODULE_REJECTED", `its ${MANIFEST_SECTION} section is not JSON in UTF-8 (${reason}); write it anew`, { cause: thrown });
  }
}

export function readSidecar(text: string): Sidecar {
  if (text.length > SIDECAR_MAX_CHARS) throw new SirsiError("MODULE_REJECTED", `its sidecar has ${text.length} characters and may have ${SIDECAR_MAX_CHARS}; shorten it`);
  let table: unknown;
  try {
    table = parseToml(text);
  } catch (thrown) {
    const reason = thrown instanceof Error ? thrown.message.trim() : String(thrown);
    throw new SirsiError("MODULE_REJECTED", `its sidecar is not TOML: ${reason}`, { cause: thrown });
  }
  if (!checkSidecar(table)) throw new SirsiError("MODULE_REJECTED", `its sidecar is wrong: ${describe(checkSidecar.errors)}`);
  const limits = Object.entries(table.limits ?? {}).map(([key, value]) => [SIDECAR_LIMITS.get(key) ?? key, value] as const);
  return { durability: table.durability ?? null, requests: table.requests ?? null, limits: Object.fromEntries(limits) };
}

/** One validation error as a sentence that says where, what and what instead. */
function describe(errors: readonly ErrorObject[] | null | undefined): string {
  const error = errors?.[0];
  if (error === undefined) return "it does not fit the schema in docs/manifest.schema.json";
  const where = error.instancePath === "" ? "the top level" : error.instancePath.slice(1).replaceAll("/", ".");
  if (error.keyword === "additionalProperties") {
    const key = String((error.params as { additionalProperty: unknown }).additionalProperty);
    const known = Object.keys((error.parentSchema as { properties?: object } | undefined)?.properties ?? {});
    return `unknown key ${JSON.stringify(key.slice(0, 80))} at ${where}; ${nearest(key, known)}`;
  }
  if (error.keyword === "enum") return `${where} must be one of ${(error.params as { allowedValues: unknown[] }).allowedValues.join(", ")}`;
  if (error.keyword === "const") return `${where} must be ${JSON.stringify((error.params as { allowedValue: unknown }).allowedValue)}`;
  return `${where} ${error.message ?? "does not fit the schema"}`;
}

/** "did you mean x?", or the known names when none is near. */
export function nearest(name: string, known: readonly string[]): string {
  if (known.length === 0) return "nothing is known here";
  const best = closest(name.slice(0, 80).toLowerCase(), known);
  const near = distance(name.slice(0, 80).toLowerCase(), best) <= Math.max(2, Math.floor(best.length / 3));
  return near ? `did you mean ${JSON.stringify(best)}?` : `known are ${known.join(", ")}`;
}
