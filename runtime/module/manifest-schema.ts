/**
 * JSON Schema (draft-07) of the `sirsi.manifest` section. docs/manifest.schema.json is
 * the same text for editors; a test holds the two to each other.
 */
import { GUEST_LIMITS } from "../core/limits.ts";

export const MODULE_NAME = /^[a-z][a-z0-9-]{0,62}$/;
const SEMVER = String.raw`^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-((0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*))*))?(\+([0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*))?$`;

const text = (maxLength: number, description: string) => ({ type: "string", maxLength, default: "", description });

const limits = Object.fromEntries(
  Object.entries(GUEST_LIMITS).map(([name, row]) => [
    name,
    { type: "integer", minimum: row.min, maximum: row.max, description: `${row.meaning} In ${row.unit}; ${row.fallback} when the host says nothing else.` },
  ]),
);

const parameter = {
  type: "object",
  additionalProperties: false,
  required: ["name"],
  properties: {
    name: { type: "string", minLength: 1, maxLength: 128 },
    type: { type: "string", maxLength: 128, default: "string" },
    description: text(4_096, "For people."),
    required: { type: "boolean", default: false },
  },
} as const;

const offer = {
  type: "object",
  additionalProperties: false,
  required: ["capabilityId"],
  properties: {
    capabilityId: { type: "string", minLength: 1, maxLength: 128, description: "Unique within the module." },
    name: text(256, "For people."),
    description: text(4_096, "For people."),
    parameters: { type: "array", maxItems: 64, default: [], items: parameter },
  },
} as const;

export const MANIFEST_SCHEMA = {
  $schema: "http://json-schema.org/draft-07/schema#",
  title: "The sirsi.manifest section of an agent module",
  type: "object",
  additionalProperties: false,
  required: ["name", "version"],
  properties: {
    name: { type: "string", pattern: MODULE_NAME.source, description: "The module's name: lower-case letters, digits and hyphens, a letter first." },
    version: { type: "string", pattern: SEMVER, maxLength: 128, description: "Semantic version, such as 1.2.0." },
    abi: { type: "integer", const: 1, default: 1, description: "Version of the guest contract." },
    displayName: text(256, "For people; the name when empty."),
    description: text(4_096, "For people."),
    durability: { type: "string", enum: ["wait", "message", "interval", "none"], default: "wait", description: "How much of its agents' work is on disk when." },
    stateSchema: { type: "integer", minimum: 0, maximum: 2_147_483_647, default: 1, description: "Number of the layout that save() writes." },
    onSwap: { type: "string", enum: ["migrate", "keep", "reset"], default: "migrate", description: "What becomes of an agent's state when another revision becomes active." },
    restart: { type: "string", enum: ["permanent", "transient", "temporary"], default: "permanent", description: "What becomes of an agent whose instance ended by a fault: permanent restores it from its last commit, transient does so unless the guest aborted by itself, temporary ends it." },
    supervision: { type: "string", enum: ["one_for_one", "rest_for_one"], default: "one_for_one", description: "Which children of its agents are restarted when one of them fails: that one, or also those spawned after it." },
    offers: { type: "array", maxItems: 256, default: [], description: "What the agent can do for its callers.", items: offer },
    requests: {
      type: "array",
      maxItems: 64,
      uniqueItems: true,
      default: [],
      description: "Host capabilities the agent asks for; each needs a grant.",
      items: { type: "string", pattern: "^[a-z][a-z0-9_.-]{0,63}$" },
    },
    defaultConfig: { type: "object", maxProperties: 256, default: {}, description: "Configuration an agent gets that is spawned without.", additionalProperties: { type: "string", maxLength: 65_536 } },
    topics: {
      type: "array",
      maxItems: 64,
      uniqueItems: true,
      default: [],
      description: "Session topics its agents hear.",
      items: { type: "string", pattern: String.raw`^[a-zA-Z0-9_-]+(\.[a-zA-Z0-9_-]+)*$`, maxLength: 128 },
    },
    placement: {
      type: "object",
      additionalProperties: false,
      default: {},
      description: "Where its agents run, in a fleet of hosts.",
      properties: {
        labels: {
          type: "object",
          maxProperties: 32,
          default: {},
          description: "Labels that a host should have all of; `zone` is its zone. When no host has them, any other will do.",
          propertyNames: { pattern: "^[a-z][a-z0-9_.-]{0,62}$" },
          additionalProperties: { type: "string", maxLength: 256 },
        },
      },
    },
    limits: { type: "object", additionalProperties: false, default: {}, description: "Limits its agents need, other than the host's defaults.", properties: limits },
  },
} as const;

const snake = (name: string) => name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

/** From a sidecar's key to the limit it narrows: memory_max_bytes -> memoryMaxBytes. */
export const SIDECAR_LIMITS: ReadonlyMap<string, string> = new Map(Object.keys(GUEST_LIMITS).map((name) => [snake(name), name]));

/** Schema of a sidecar, NAME.toml. Ranges are left to the manifest's: a sidecar only narrows. */
export const SIDECAR_SCHEMA = {
  type: "object",
  additionalProperties: false,
  properties: {
    durability: MANIFEST_SCHEMA.properties.durability,
    requests: { type: "array", uniqueItems: true, items: { type: "string" } },
    limits: {
      type: "object",
      additionalProperties: false,
      properties: Object.fromEntries([...SIDECAR_LIMITS].map(([key, name]) => [key, limits[name]])),
    },
  },
} as const;
