export type { ContextCounts, ContextEntry, ContextLimits, ContextStatus, Conversations, HostPresence, Presence, RateLimits, RateRule, RateVerdict, SessionNotes, SharedContext } from "./context.ts";
export { openContext } from "./open-context.ts";
export type { ContextDeps } from "./open-context.ts";
export { ENTRY_MAX_BYTES } from "./context.ts";
