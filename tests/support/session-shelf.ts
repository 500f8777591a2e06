/** The part of a Store that sessions need, in memory: in order, with copies, and able to fail when told. */
import type { SirsiError } from "../../runtime/core/errors.ts";
import type { SessionQuery, SessionRecord, Store, UserRecord } from "../../runtime/store/store.ts";

export type SessionStore = Pick<Store, "putSession" | "getSession" | "listSessions" | "deleteSession" | "putUser" | "getUser">;

export class SessionShelf implements SessionStore {
  readonly sessions = new Map<string, SessionRecord>();
  readonly users = new Map<string, UserRecord>();
  /** While set, writes are refused with it. */
  fault: SirsiError | null = null;
  reads = 0;

  async putSession(session: SessionRecord): Promise<void> {
    await this.#writing();
    this.sessions.set(session.sessionId, structuredClone(session));
  }

  async getSession(sessionId: string): Promise<SessionRecord | null> {
    this.reads += 1;
    const session = this.sessions.get(sessionId);
    return Promise.resolve(session === undefined ? null : structuredClone(session));
  }

  async listSessions({ userId, states, before, limit }: SessionQuery): Promise<SessionRecord[]> {
    const matching = [...this.sessions.values()].filter(
      (session) =>
        (userId === null || session.userId === userId) &&
        (states.length === 0 || states.includes(session.state)) &&
        (before === null || session.createdAt < before.createdAt || (session.createdAt === before.createdAt && session.sessionId < before.sessionId)),
    );
    matching.sort((a, b) => b.createdAt - a.createdAt || (a.sessionId < b.sessionId ? 1 : -1));
    return Promise.resolve(matching.slice(0, limit).map((session) => structuredClone(session)));
  }

  async deleteSession(sessionId: string): Promise<void> {
    await this.#writing();
    this.sessions.delete(sessionId);
  }

  async putUser(user: UserRecord): Promise<void> {
    await this.#writing();
    this.users.set(user.userId, structuredClone(user));
  }

  async getUser(userId: string): Promise<UserRecord | null> {
    this.reads += 1;
    return Promise.resolve(this.users.get(userId) ?? null);
  }

  async #writing(): Promise<void> {
    await Promise.resolve();
    if (this.fault !== null) throw this.fault;
  }
}
