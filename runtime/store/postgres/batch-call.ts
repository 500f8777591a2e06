/** The calls that go together in batches, and how each ends. */
import type { SirsiError } from "../../core/errors.ts";
import type { AgentCommit, AgentRecord, OutboxKey } from "../store.ts";

export type BatchCall =
  | { readonly kind: "commit"; readonly commit: AgentCommit }
  | { readonly kind: "put"; readonly agent: AgentRecord }
  | { readonly kind: "claim"; readonly agentId: string }
  | { readonly kind: "acquire"; readonly agentId: string }
  | { readonly kind: "give"; readonly agentIds: readonly string[]; readonly toHostId: string | null }
  | { readonly kind: "settle"; readonly keys: readonly OutboxKey[] };

export type BatchOutcome = { readonly kind: "done"; readonly value: unknown } | { readonly kind: "failed"; readonly error: SirsiError };
