/**
 * UpdateAgent: what an update_mask makes of an agent.
 *
 * Paths: metadata, metadata.KEY (a key that is absent from the request is removed),
 * config, config.FIELD, config.parameters.KEY, and `*` for both as a whole. KEY may
 * stand in backquotes. An empty mask means every changeable field that the request
 * sets (AIP-134).
 */
import type { AgentChanges } from "../agent/agents.ts";
import type { Agent } from "../contract/gen/sirsi/agent/v1/agent_service_pb.ts";
import type { FieldViolations } from "../core/field-violations.ts";
import type { AgentRecord } from "../store/store.ts";
import { recordedConfig } from "./agent-config.ts";
import type { RecordedConfig } from "./agent-config.ts";

const CONFIG_FIELDS: ReadonlyMap<string, keyof RecordedConfig> = new Map([
  ["parameters", "parameters"],
  ["timeout_seconds", "timeoutSeconds"],
  ["max_concurrent_operations", "maxConcurrentOperations"],
  ["enable_caching", "enableCaching"],
  ["required_capabilities", "requiredCapabilities"],
]);

const IMMUTABLE: ReadonlySet<string> = new Set(["agent_id", "session_id", "agent_type", "state", "created_at", "updated_at", "parent_agent_id", "module_version", "module_digest"]);

interface Draft {
  metadata: Record<string, string> | null;
  config: { -readonly [Field in keyof RecordedConfig]: RecordedConfig[Field] } | null;
}

/** The changes that the mask and the request make to the record; wrong paths are added to `wrong`. */
export function agentChanges(record: AgentRecord, asked: Agent, paths: readonly string[], wrong: FieldViolations): AgentChanges {
  const draft: Draft = { metadata: null, config: null };
  for (const path of paths.length === 0 ? pathsSet(asked) : paths) applyPath(draft, path, record, asked, wrong);
  return {
    ...(draft.metadata === null ? {} : { metadata: draft.metadata }),
    ...(draft.config === null ? {} : { config: draft.config }),
  };
}

/** The mask that an empty one stands for. */
function pathsSet(asked: Agent): string[] {
  const paths: string[] = [];
  if (Object.keys(asked.metadata).length > 0) paths.push("metadata");
  const { config } = asked;
  if (config === undefined) return paths;
  if (Object.keys(config.parameters).length > 0) paths.push("config.parameters");
  if (config.timeoutSeconds !== 0) paths.push("config.timeout_seconds");
  if (config.maxConcurrentOperations !== 0) paths.push("config.max_concurrent_operations");
  if (config.enableCaching) paths.push("config.enable_caching");
  if (config.requiredCapabilities.length > 0) paths.push("config.required_capabilities");
  return paths;
}

function applyPath(draft: Draft, path: string, record: AgentRecord, asked: Agent, wrong: FieldViolations): void {
  if (path === "*" || path === "metadata") draft.metadata = { ...asked.metadata };
  if (path === "*" || path === "config") draft.config = { ...recordedConfig(asked.config) };
  if (path === "*" || path === "metadata" || path === "config") return;
  const [root, ...rest] = path.split(".");
  if (root === "metadata") {
    draft.metadata ??= { ...record.metadata };
    setKey(draft.metadata, keyOf(rest), asked.metadata);
    return;
  }
  const field = root === "config" ? CONFIG_FIELDS.get(rest[0] ?? "") : undefined;
  if (field === undefined || (rest.length > 1 && field !== "parameters")) {
    const why = IMMUTABLE.has(root ?? "") ? "cannot be changed" : "is not a field of an agent that can be changed";
    wrong.add("update_mask", `${JSON.stringify(path.slice(0, 120))} ${why}; use metadata, config, or parts of them`);
    return;
  }
  draft.config ??= { ...record.config };
  const wanted = recordedConfig(asked.config);
  if (rest.length === 1) {
    Object.assign(draft.config, { [field]: wanted[field] });
    return;
  }
  const parameters = { ...draft.config.parameters };
  setKey(parameters, keyOf(rest.slice(1)), wanted.parameters);
  draft.config.parameters = parameters;
}

/** What follows the map's name; dots belong to the key, backquotes around it do not. */
function keyOf(rest: readonly string[]): string {
  const key = rest.join(".");
  return key.length > 1 && key.startsWith("`") && key.endsWith("`") ? key.slice(1, -1) : key;
}

function setKey(target: Record<string, string>, key: string, source: Readonly<Record<string, string>>): void {
  const value = Object.hasOwn(source, key) ? source[key] : undefined;
  if (value === undefined) delete target[key];
  else target[key] = value;
}
