/**
 * Digest and preparation of states, two long texts that many rows share, as short keys.
 * What was looked up is remembered, so a commit asks for none; after a transaction was
 * undone everything is forgotten, since a key may have been made in it.
 */
import type { DatabaseSync } from "node:sqlite";
import { number } from "./row.ts";

export class Builds {
  readonly #known = new Map<string, number>();
  readonly #make: (digest: string, preparation: string) => number;

  constructor(db: DatabaseSync) {
    const find = db.prepare("SELECT build_key FROM builds WHERE digest = ? AND preparation = ?");
    const make = db.prepare("INSERT INTO builds (digest, preparation) VALUES (?, ?) RETURNING build_key");
    this.#make = (digest, preparation) => number(find.get(digest, preparation) ?? make.get(digest, preparation) ?? {}, "build_key");
  }

  keyOf(digest: string, preparation: string): number {
    const name = `${digest} ${preparation}`;
    let key = this.#known.get(name);
    if (key === undefined) {
      key = this.#make(digest, preparation);
      this.#known.set(name, key);
    }
    return key;
  }

  forget(): void {
    this.#known.clear();
  }
}
