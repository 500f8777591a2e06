/** A temporary data directory and the stores opened on it. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ManualClock } from "../../runtime/core/clock.ts";
import { openSqliteStore } from "../../runtime/store/sqlite/index.ts";
import type { Store } from "../../runtime/store/store.ts";

export class StoreFolder {
  readonly path: string;
  readonly #opened: Store[] = [];

  private constructor(path: string) {
    this.path = path;
  }

  static async make(): Promise<StoreFolder> {
    return new StoreFolder(await mkdtemp(join(tmpdir(), "sirsi-store-")));
  }

  get database(): string {
    return join(this.path, "sirsi.db");
  }

  async open(): Promise<Store> {
    const store = await openSqliteStore({ dataDir: this.path, clock: new ManualClock() });
    this.#opened.push(store);
    return store;
  }

  async dispose(): Promise<void> {
    await Promise.all(this.#opened.map((store) => store.close()));
    await rm(this.path, { recursive: true, force: true });
  }
}
