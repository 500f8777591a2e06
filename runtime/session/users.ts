/** What is known of the people whose sessions these are. */
import { BoundedCache } from "../core/bounded-cache.ts";
import type { Clock } from "../core/clock.ts";
import type { Store, UserRecord } from "../store/store.ts";
import type { UserProfileDraft } from "./session-draft.ts";

const USERS_CACHED = 1_024;

export class Users {
  readonly #store: Pick<Store, "putUser" | "getUser">;
  readonly #clock: Clock;
  /** Holds "nobody" too, so that users without a profile cost one look-up. */
  readonly #cache = new BoundedCache<string, { readonly user: UserRecord | null }>(USERS_CACHED);

  constructor(store: Pick<Store, "putUser" | "getUser">, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
  }

  /** Resolves when the profile is on disk. */
  async put(userId: string, profile: UserProfileDraft): Promise<UserRecord> {
    const user: UserRecord = { userId, displayName: profile.displayName, preferences: { ...profile.preferences }, updatedAt: this.#clock.now() };
    this.#cache.set(userId, { user });
    try {
      await this.#store.putUser(user);
    } catch (thrown) {
      this.#cache.delete(userId);
      throw thrown;
    }
    return user;
  }

  /** null when no profile was ever given. */
  async get(userId: string): Promise<UserRecord | null> {
    const cached = this.#cache.get(userId);
    if (cached !== undefined) return cached.user;
    const user = await this.#store.getUser(userId);
    // A put that came in between knows better.
    const since = this.#cache.get(userId);
    if (since !== undefined) return since.user;
    this.#cache.set(userId, { user });
    return user;
  }
}
