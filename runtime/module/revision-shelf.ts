/**
 * Revisions by digest: those that are loaded, those that can be loaded from the archive,
 * and how many agents need each.
 */
import { SirsiError } from "../core/errors.ts";
import type { Admission } from "./admission.ts";
import type { RevisionArchive } from "./revision-archive.ts";
import type { Revision } from "./revision.ts";

export class RevisionShelf {
  readonly #archive: RevisionArchive;
  readonly #admission: Admission;
  readonly #loaded = new Map<string, Revision>();
  readonly #loading = new Map<string, Promise<Revision>>();
  /** As earlier preparers made them, by digest and preparation. */
  readonly #earlier = new Map<string, Promise<Revision | null>>();
  readonly #users = new Map<string, number>();

  constructor(archive: RevisionArchive, admission: Admission) {
    this.#archive = archive;
    this.#admission = admission;
  }

  put(revision: Revision): void {
    this.#loaded.set(revision.digest, revision);
  }

  loaded(digest: string): Revision | null {
    return this.#loaded.get(digest) ?? null;
  }

  /** Loads it when it is not; concurrent askers share one admission. MODULE_NOT_FOUND when it is not kept. */
  async load(digest: string): Promise<Revision> {
    const there = this.#loaded.get(digest);
    if (there !== undefined) return there;
    let loading = this.#loading.get(digest);
    if (loading === undefined) {
      loading = this.#admitKept(digest).finally(() => this.#loading.delete(digest));
      this.#loading.set(digest, loading);
    }
    return loading;
  }

  /** Agents live on it already, so what is no longer granted is refused call by call, not here. */
  async #admitKept(digest: string): Promise<Revision> {
    const kept = await this.#archive.get(digest);
    if (kept === null) throw new SirsiError("MODULE_NOT_FOUND", `revision ${digest.slice(0, 12)} is not kept on this host; install its module again`);
    const outcome = await this.#admission.admit(kept.bytes, { sidecar: kept.sidecar, ungranted: "without" });
    if (outcome.kind !== "admitted") throw SirsiError.revive(outcome.error);
    const meanwhile = this.#loaded.get(digest);
    if (meanwhile !== undefined) return meanwhile;
    this.#loaded.set(digest, outcome.revision);
    return outcome.revision;
  }

  /** The revision in the code of an earlier preparer, for agents suspended in it; null when that is not kept. */
  async preparedBy(digest: string, preparation: string): Promise<Revision | null> {
    const present = await this.load(digest);
    if (present.preparation === preparation) return present;
    const key = `${digest} ${preparation}`;
    let loading = this.#earlier.get(key);
    if (loading === undefined) {
      loading = this.#admitEarlier(digest, preparation);
      this.#earlier.set(key, loading);
      // Nothing is remembered of what failed: the next asker tries again.
      loading.then((found) => found ?? this.#earlier.delete(key), () => this.#earlier.delete(key));
    }
    return loading;
  }

  async #admitEarlier(digest: string, preparation: string): Promise<Revision | null> {
    const kept = await this.#archive.get(digest);
    if (kept === null) return null;
    const outcome = await this.#admission.admit(kept.bytes, { sidecar: kept.sidecar, ungranted: "without", preparation });
    return outcome.kind === "admitted" ? outcome.revision : null;
  }

  retain(digest: string): void {
    this.#users.set(digest, (this.#users.get(digest) ?? 0) + 1);
  }

  /** True when nobody needs it any more. */
  release(digest: string): boolean {
    const left = (this.#users.get(digest) ?? 0) - 1;
    if (left > 0) {
      this.#users.set(digest, left);
      return false;
    }
    this.#users.delete(digest);
    return true;
  }

  inUse(digest: string): boolean {
    return this.#users.has(digest);
  }

  async forget(digest: string): Promise<void> {
    this.#loaded.delete(digest);
    for (const key of this.#earlier.keys()) if (key.startsWith(digest)) this.#earlier.delete(key);
    await this.#archive.remove(digest);
  }
}
