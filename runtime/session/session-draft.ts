/** What a caller may say of a new session, and the record that comes of it. */
import { FieldViolations } from "../core/field-violations.ts";
import type { HostLimits } from "../core/limits.ts";
import type { SessionRecord } from "../store/store.ts";

/** The longest a session may be asked to live. */
export const SESSION_TIMEOUT_MAX_SECONDS = 365 * 86_400;
const USER_ID_MAX_CHARS = 256;
const DISPLAY_NAME_MAX_CHARS = 256;

export interface UserProfileDraft {
  readonly displayName: string;
  readonly preferences: Readonly<Record<string, string>>;
}

/** Zero means "the default" for both numbers. */
export interface SessionDraft {
  readonly userId: string;
  readonly context: Readonly<Record<string, string>>;
  readonly maxAgents: number;
  readonly timeoutSeconds: number;
  readonly enableLogging: boolean;
  readonly preferences: Readonly<Record<string, string>>;
  /** null leaves what is known of the user. */
  readonly profile: UserProfileDraft | null;
}

export interface DraftRules {
  readonly defaultTimeoutSeconds: number;
  readonly limits: Pick<HostLimits, "maxAgentsPerSession" | "mapMaxEntries">;
}

/** INVALID_ARGUMENT that names every wrong field by its place in CreateSessionRequest. */
export function checkDraft(draft: SessionDraft, { limits }: DraftRules): void {
  const wrong = new FieldViolations();
  checkUserId(draft.userId, "user_id", wrong);
  wrong.requireMap(draft.context, limits.mapMaxEntries, "context");
  wrong.requireWithin(draft.maxAgents, 0, limits.maxAgentsPerSession, "config.max_agents", "sessions.max_agents; 0 for the default");
  checkTimeout(draft.timeoutSeconds, "config.timeout_seconds", wrong);
  wrong.requireMap(draft.preferences, limits.mapMaxEntries, "config.preferences");
  if (draft.profile !== null) {
    wrong.require(draft.profile.displayName.length <= DISPLAY_NAME_MAX_CHARS, "user_profile.display_name", `may have ${DISPLAY_NAME_MAX_CHARS} characters; got ${draft.profile.displayName.length}`);
    wrong.requireMap(draft.profile.preferences, limits.mapMaxEntries, "user_profile.preferences");
  }
  wrong.throwIfAny();
}

export function checkUserId(userId: string, field: string, wrong: FieldViolations): void {
  if (userId === "") wrong.add(field, "must be set: whose session it is");
  else if (userId.length > USER_ID_MAX_CHARS) wrong.add(field, `may have ${USER_ID_MAX_CHARS} characters; got ${userId.length}`);
  else if (/\p{Cc}/u.test(userId) || userId.trim() !== userId) wrong.add(field, "must have no control characters and no white space around it");
}

export function checkTimeout(seconds: number, field: string, wrong: FieldViolations): void {
  wrong.requireWithin(seconds, 0, SESSION_TIMEOUT_MAX_SECONDS, field, "seconds; 0 for the default");
}

export function recordOf(draft: SessionDraft, rules: DraftRules, sessionId: string, now: number): SessionRecord {
  const timeoutSeconds = draft.timeoutSeconds === 0 ? rules.defaultTimeoutSeconds : draft.timeoutSeconds;
  return {
    sessionId,
    userId: draft.userId,
    state: "ACTIVE",
    createdAt: now,
    updatedAt: now,
    expiresAt: now + timeoutSeconds * 1_000,
    metadata: { ...draft.context },
    config: {
      maxAgents: draft.maxAgents === 0 ? rules.limits.maxAgentsPerSession : draft.maxAgents,
      timeoutSeconds,
      enableLogging: draft.enableLogging,
      preferences: { ...draft.preferences },
    },
  };
}
