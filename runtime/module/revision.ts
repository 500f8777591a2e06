/** What a module file becomes. Data only; the pipeline that makes it is beside this file. */
import type { GuestLimits } from "../core/limits.ts";

export type Durability = "wait" | "message" | "interval" | "none";

/** What happens to an agent's state when another revision becomes active. */
export type SwapPolicy =
  /** save() on the old, load() on the new. */
  | "migrate"
  /** Old agents finish on the old revision. */
  | "keep"
  /** The agent starts afresh on the new revision. */
  | "reset";

/** What becomes of an agent whose instance ended by a fault. */
export type RestartMode =
  /** Restored from its last commit. */
  | "permanent"
  /** The same, but an error that the guest chose itself (an abort) ends it. */
  | "transient"
  /** It ends. */
  | "temporary";

/** Which of an agent's children (parent_agent_id) are restarted when one of them is. */
export type SupervisionStrategy = "one_for_one" | "rest_for_one";

export interface CapabilityParameter {
  readonly name: string;
  readonly type: string;
  readonly description: string;
  readonly required: boolean;
}

/** Something the agent can do for its callers. */
export interface OfferedCapability {
  readonly capabilityId: string;
  readonly name: string;
  readonly description: string;
  readonly parameters: readonly CapabilityParameter[];
}

/** Host capabilities a guest may ask for; each needs a grant. */
export const HOST_CAPABILITIES = ["ask", "sleep", "timers", "documents"] as const;
export type HostCapability = (typeof HOST_CAPABILITIES)[number];

/** The `sirsi.manifest` custom section, complete: defaults filled in. */
export interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly abi: 1;
  readonly displayName: string;
  readonly description: string;
  readonly durability: Durability;
  readonly stateSchema: number;
  readonly onSwap: SwapPolicy;
  readonly restart: RestartMode;
  /** For the children of its agents. */
  readonly supervision: SupervisionStrategy;
  readonly offers: readonly OfferedCapability[];
  readonly requests: readonly string[];
  readonly defaultConfig: Readonly<Record<string, string>>;
  /** Session topics its agents hear. */
  readonly topics: readonly string[];
  /** In a fleet: the labels that a host should have all of for its agents. */
  readonly placement: { readonly labels: Readonly<Record<string, string>> };
  /** Only what the manifest states; the host's defaults and policy make GuestLimits of it. */
  readonly limits: Partial<GuestLimits>;
}

/** One immutable build, ready to instantiate. */
export interface Revision {
  /** SHA-256 of the bytes as delivered, lower-case hex. */
  readonly digest: string;
  readonly manifest: Manifest;
  /** Effective limits: default, narrowed or widened by the manifest, clamped by policy. */
  readonly limits: GuestLimits;
  readonly grants: readonly HostCapability[];
  /** The prepared module, compiled. Shared between threads by structured clone. */
  readonly compiled: WebAssembly.Module;
  /** Names the preparer's version and options; a suspended step goes on under no other. */
  readonly preparation: string;
  /** The module's own mutable globals, as exported, in the order checkpoints store them; none that preparation added. */
  readonly globals: readonly { readonly name: string; readonly type: "i32" | "i64" | "f32" | "f64" }[];
  /** Whether the guest can wait (imports sirsi.request and was asyncified). */
  readonly canWait: boolean;
  /** Why a checkpoint cannot hold all of its state; empty when it can. */
  readonly uncapturable: string;
  readonly sizeBytes: number;
  readonly preparedSizeBytes: number;
  readonly prepareTimeMs: number;
  readonly imports: readonly string[];
  readonly exports: readonly string[];
}
