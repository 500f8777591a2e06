/** What callers may say of an agent: checked for all wrong fields at once. */
import { create } from "@bufbuild/protobuf";
import { AgentConfigSchema } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import type { AgentConfig } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import type { FieldViolations } from "../core/field-violations.ts";
import type { Manifest } from "../module/revision.ts";
import type { AgentRecord } from "../store/store.ts";

export type RecordedConfig = AgentRecord["config"];

/** An agent's metadata is what filters run over; long texts belong into messages or parameters. */
const METADATA_VALUE_MAX_CHARS = 16 * 1024;
const METADATA_KEY_MAX_CHARS = 256;
/** The longest an agent may be told to let its callers wait. */
export const TIMEOUT_MAX_SECONDS = 86_400;
const OPERATIONS_MAX = 1_000;

/** Of a config or of one field of it; what is absent is sound. */
export function checkConfig(config: Partial<RecordedConfig>, mapMaxEntries: number, field: string, wrong: FieldViolations): void {
  const at = (name: string) => `${field}.${name}`;
  if (config.parameters !== undefined) wrong.requireMap(config.parameters, mapMaxEntries, at("parameters"));
  if (config.timeoutSeconds !== undefined) wrong.requireWithin(config.timeoutSeconds, 0, TIMEOUT_MAX_SECONDS, at("timeout_seconds"), "seconds; 0 for the module's own");
  if (config.maxConcurrentOperations !== undefined) {
    wrong.requireWithin(config.maxConcurrentOperations, 0, OPERATIONS_MAX, at("max_concurrent_operations"), "an agent does one step at a time, so every value holds");
  }
  if (config.requiredCapabilities !== undefined) {
    wrong.require(config.requiredCapabilities.length <= mapMaxEntries, at("required_capabilities"), `may have ${mapMaxEntries} entries; got ${config.requiredCapabilities.length}`);
  }
}

export function checkMetadata(metadata: Readonly<Record<string, string>>, mapMaxEntries: number, field: string, wrong: FieldViolations): void {
  wrong.requireMap(metadata, mapMaxEntries, field);
  for (const [key, value] of Object.entries(metadata)) {
    if (key === "" || key.length > METADATA_KEY_MAX_CHARS) wrong.add(field, `keys have 1 to ${METADATA_KEY_MAX_CHARS} characters; got ${key.length}`);
    if (value.length > METADATA_VALUE_MAX_CHARS) wrong.add(field, `the value of ${JSON.stringify(key.slice(0, 60))} has ${value.length} characters, and ${METADATA_VALUE_MAX_CHARS} is the most`);
  }
}

/** Every required capability must be one that the agent's type offers. */
export function checkCapabilities(required: readonly string[], manifest: Manifest, field: string, wrong: FieldViolations): void {
  const offered = new Set(manifest.offers.map(({ capabilityId }) => capabilityId));
  const missing = required.filter((capability) => !offered.has(capability));
  if (missing.length === 0) return;
  const has = offered.size === 0 ? "offers none" : `offers ${[...offered].join(", ")}`;
  wrong.add(field, `asks for ${missing.map((capability) => JSON.stringify(capability.slice(0, 60))).join(", ")}, and ${manifest.name}@${manifest.version} ${has}`);
}

export function recordedConfig(config: AgentConfig | undefined): RecordedConfig {
  const { parameters, timeoutSeconds, maxConcurrentOperations, enableCaching, requiredCapabilities } = config ?? create(AgentConfigSchema);
  return { parameters, timeoutSeconds, maxConcurrentOperations, enableCaching, requiredCapabilities };
}
