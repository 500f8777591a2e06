/** How a session says no. */
import { SirsiError } from "../core/errors.ts";
import type { SessionRecord } from "../store/store.ts";

export function sessionNotFound(sessionId: string): SirsiError {
  return new SirsiError("SESSION_NOT_FOUND", `no session has the id ${sessionId}: it was never made here, or it ended and was removed. Create one, or list those there are`, {
    metadata: { session_id: sessionId },
  });
}

export function sessionRefusal(session: SessionRecord, code: "SESSION_EXPIRED" | "SESSION_TERMINATED"): SirsiError {
  const { sessionId } = session;
  const expired = code === "SESSION_EXPIRED";
  const at = new Date(expired ? session.expiresAt : session.updatedAt).toISOString();
  const message = expired
    ? `session ${sessionId} expired at ${at} and takes no more work; create a new one, and extend that one before it expires`
    : `session ${sessionId} was ended at ${at} and takes no more work; create a new one`;
  return new SirsiError(code, message, {
    metadata: { session_id: sessionId, [expired ? "expired_at" : "ended_at"]: at },
    preconditions: [{ type: "SESSION_ACTIVE", subject: sessionId, description: message }],
  });
}
