/** What preparation makes, and the name of how. Free of Binaryen, so that a warm cache never loads it. */

export interface PreparedModule {
  readonly wasm: Uint8Array;
  /** The module's own mutable globals, as exported, in the order checkpoints store them. */
  readonly globals: readonly { readonly name: string; readonly type: "i32" | "i64" | "f32" | "f64" }[];
  readonly canWait: boolean;
}

/**
 * Preparer, Binaryen and options by name: part of the cache's keys and of every waiting
 * state's identity. Change it whenever prepare() would write other bytes; agents that
 * wait under another name are resumed on what the cache has kept of that one.
 */
export const PREPARATION = "sirsi-3/binaryen-132.0.0/count-work256-free256-turns16-bulk4-grow-asyncify-O1-tidy";
