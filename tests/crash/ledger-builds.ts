/**
 * Revisions of the ledger by overwriting a tag in its module: sound ones of two state layouts,
 * and ones with something wrong. Each has a digest of its own.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { SirsiError } from "../../runtime/core/errors.ts";
import { builtFixture } from "../support/built-agents.ts";
import { revised } from "../support/revised.ts";

/** Three letters each, schema and mood as in the fixture. */
const KINDS = {
  one: { schema: 1, mood: 0 },
  two: { schema: 2, mood: 0 },
  /** load() refuses. */
  ref: { schema: 1, mood: 1 },
  /** load() traps. */
  trp: { schema: 1, mood: 2 },
  /** load() does not end. */
  lop: { schema: 1, mood: 3 },
  /** Takes over the state well, and after a few commands traps on every `add`. */
  sik: { schema: 2, mood: 4 },
} as const;
export type BuildKind = keyof typeof KINDS;

export const SOUND: readonly BuildKind[] = ["one", "two"];
export const UNSOUND: readonly BuildKind[] = ["ref", "trp", "lop", "sik"];

const TAG = "ledger-build:one:1:0";

export interface LedgerBuild {
  readonly kind: BuildKind;
  readonly version: string;
  /** SHA-256 of the bytes, lower-case hex. */
  readonly digest: string;
  readonly wasm: Uint8Array;
}

export class LedgerBuilds {
  readonly #wasm: Uint8Array;
  readonly #tagAt: number;
  readonly #kinds = new Map<string, BuildKind>();
  readonly #made: LedgerBuild[] = [];
  #taken = 0;

  private constructor(wasm: Uint8Array) {
    this.#wasm = wasm;
    this.#tagAt = Buffer.from(wasm).indexOf(Buffer.from(TAG, "utf16le"));
    if (this.#tagAt < 0) throw new SirsiError("INTERNAL", `the built ledger holds no tag ${TAG}; see tests/fixtures/agents/ledger/assembly/variant.ts`);
  }

  static async open(): Promise<LedgerBuilds> {
    const { file } = await builtFixture("ledger");
    return new LedgerBuilds(new Uint8Array(readFileSync(file)));
  }

  /** A revision that was not there before. */
  make(kind: BuildKind): LedgerBuild {
    const { schema, mood } = KINDS[kind];
    const tagged = Buffer.from(this.#wasm);
    tagged.write(`ledger-build:${kind}:${schema}:${mood}`, this.#tagAt, "utf16le");
    const version = `1.0.${this.#made.length}`;
    const wasm = revised(new Uint8Array(tagged), { version, stateSchema: schema });
    const digest = createHash("sha256").update(wasm).digest("hex");
    this.#kinds.set(digest, kind);
    const build = { kind, version, digest, wasm };
    this.#made.push(build);
    return build;
  }

  /** One that was made before, in turn; made when there is none. A host has it prepared, so that the swap begins at once. */
  known(kind: BuildKind, besides: LedgerBuild): LedgerBuild {
    const all = this.#made.filter((build) => build.kind === kind && build !== besides);
    return all[this.#taken++ % all.length] ?? this.make(kind);
  }

  kindOf(digest: string): BuildKind | null {
    return this.#kinds.get(digest) ?? null;
  }
}
