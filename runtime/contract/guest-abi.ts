/**
 * The guest contract, version 1: names that cross between a module and the host.
 * docs/guest-abi.md is its prose.
 */

export const ABI_VERSION = 1;

/** Custom section that holds the manifest (JSON, UTF-8). */
export const MANIFEST_SECTION = "sirsi.manifest";

/** What every module exports. */
export const GUEST_EXPORTS = {
  memory: "memory",
  /** () -> i32: ABI_VERSION */
  abi: "sirsi_abi",
  /** (len: i32) -> ptr: i32; room for host bytes that the guest's collector leaves alone; 0 when there is none */
  alloc: "sirsi_alloc",
  /** (ptr: i32) -> () */
  free: "sirsi_free",
  /**
   * (ptr: i32, len: i32) -> i64: one GuestCall in, one GuestResult out, packed `ptr << 32 | len`.
   * The guest owns the input from here on (and frees it); the host copies the result at
   * once and then frees it with sirsi_free.
   */
  call: "sirsi_call",
} as const;

export const IMPORT_MODULE = "sirsi";

/** What a module may import from IMPORT_MODULE. */
export const GUEST_IMPORTS = {
  /** (level: i32, ptr: i32, len: i32) -> (); level 0 trace, 1 debug, 2 info, 3 warn, 4 error; UTF-8 */
  log: "log",
  /** () -> i64: milliseconds since 1970 */
  now: "now",
  /** (ptr: i32, len: i32) -> (): fills with random bytes */
  random: "random",
  /** (ptr: i32, len: i32) -> (): one GuestEmit into the outbox */
  emit: "emit",
  /**
   * (ptr: i32, len: i32) -> i64: one GuestRequest; waits; the GuestResponse packed
   * `ptr << 32 | len` in room from sirsi_alloc, which the guest frees
   */
  request: "request",
} as const;

/** AssemblyScript's abort: env.abort(message: usize, file: usize, line: u32, column: u32). */
export const ABORT_IMPORT = { module: "env", name: "abort" } as const;

/**
 * Names that preparation adds. A module that already has one is refused.
 *
 * Metering: PREPARED.fuel is an exported mutable i32 global that loop turns and entries of
 * functions that are not small count down; below zero the guest calls PREPARED.refill (an import from
 * PREPARED.importModule, () -> i32), which answers the next slice or throws.
 * Suspension: asyncify's five functions, under their own names.
 */
export const PREPARED = {
  importModule: "sirsi:host",
  refill: "refill",
  /** () -> (): the guest asked for more memory than it may have, and memory.grow said no. */
  refused: "refused",
  fuel: "sirsi:fuel",
  /** Exported mutable globals are "sirsi:g0", "sirsi:g1", … */
  globalPrefix: "sirsi:g",
} as const;

/** Fuel handed out at a time; the host looks at the clock between slices. */
export const FUEL_SLICE = 1_000_000;

/** Room for a suspended stack, taken from sirsi_alloc at the first wait. */
export const SUSPEND_BUFFER_BYTES = 32 * 1024;
