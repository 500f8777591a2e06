/**
 * A guest of the host's own, for telling whether guests can run: it answers every
 * call with GuestResult{done}. Embedded in its prepared form, so that a host with an
 * empty module directory can tell as well.
 *
 *   (module
 *     (import "sirsi:host" "refill" (func $refill (result i32)))
 *     (memory (export "memory") 1 1)
 *     (global $fuel (export "sirsi:fuel") (mut i32) (i32.const 0))
 *     (data (i32.const 16) "\12\00")
 *     (func (export "sirsi_abi") (result i32) (i32.const 1))
 *     (func (export "sirsi_alloc") (param i32) (result i32) (i32.const 1024))
 *     (func (export "sirsi_free") (param i32))
 *     (func (export "sirsi_call") (param i32 i32) (result i64) (i64.const 0x1000000002)))
 */
import { hash } from "node:crypto";
import { DEFAULT_GUEST_LIMITS } from "../core/limits.ts";
import type { Revision } from "../module/revision.ts";

const WASM = Buffer.from(
  "AGFzbQEAAAABFARgAAF/YAF/AX9gAX8AYAJ/fwF+AhUBCnNpcnNpOmhvc3QGcmVmaWxsAAADBQQAAQIDBQQBAQEBBgYBfwFBAAsHSwYGbWVtb3J5AgAKc2lyc2k6ZnVlbAMACXNpcnNpX2FiaQ" +
    "ABC3NpcnNpX2FsbG9jAAIKc2lyc2lfZnJlZQADCnNpcnNpX2NhbGwABAoZBAQAQQELBQBBgAgLAgALCQBCgoCAgIACCwsIAQBBEAsCEgA=",
  "base64",
);

/** What the probe guest answers: GuestResult{done}. */
export const PROBE_ANSWER = Buffer.from([0x12, 0x00]);

export function probeRevision(): Revision {
  return {
    digest: hash("sha256", WASM, "hex"),
    manifest: {
      name: "sirsi-probe",
      version: "1.0.0",
      abi: 1,
      displayName: "Probe",
      description: "Tells whether guests can run.",
      durability: "none",
      stateSchema: 0,
      onSwap: "reset",
      restart: "permanent",
      supervision: "one_for_one",
      offers: [],
      requests: [],
      defaultConfig: {},
      topics: [],
      placement: { labels: {} },
      limits: {},
    },
    limits: { ...DEFAULT_GUEST_LIMITS, memoryMaxBytes: 65_536, fuelPerStep: 10_000, stepTimeoutMs: 5_000 },
    grants: [],
    compiled: new WebAssembly.Module(WASM),
    preparation: "embedded",
    globals: [],
    canWait: false,
    uncapturable: "",
    sizeBytes: WASM.length,
    preparedSizeBytes: WASM.length,
    prepareTimeMs: 0,
    imports: [],
    exports: [],
  };
}
