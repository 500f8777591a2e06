export { EventLog } from "./event-log.ts";
export type { EventLogDeps, FollowOptions } from "./event-log.ts";
export { Sessions, openSessions } from "./sessions.ts";
export type { SessionDeps, SessionFleet, SessionSettings } from "./sessions.ts";
export { checkUserId } from "./session-draft.ts";
export type { SessionDraft, UserProfileDraft } from "./session-draft.ts";
export { Users } from "./users.ts";
