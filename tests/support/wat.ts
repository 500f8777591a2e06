/** Small guests, good and hostile, built from WebAssembly text. They need no compiler and no SDK. */
import binaryen from "binaryen";
import { MANIFEST_SECTION } from "../../runtime/contract/guest-abi.ts";
import { customSection } from "../../runtime/module/wasm-rewrite.ts";

const { Features } = binaryen;
/** All that the fixtures use; Features.All would write encodings that are newer than V8. */
const FEATURES = (
  Features.MutableGlobals | Features.NontrappingFPToInt | Features.SIMD128 | Features.BulkMemory | Features.BulkMemoryOpt | Features.SignExt |
  Features.ReferenceTypes | Features.Multivalue | Features.ExtendedConst | Features.Atomics | Features.TailCall | Features.ExceptionHandling
) as binaryen.Features;

/** The parts of a guest's text; each has a default that makes a valid guest. */
export interface GuestParts {
  /** Imports, before everything else. */
  readonly imports?: string;
  readonly memory?: string;
  /** Further fields: data, globals, functions, tables, a start. */
  readonly fields?: string;
  readonly abi?: string;
  /** Whole functions, so that a test can leave one out or lie in it. */
  readonly alloc?: string;
  readonly free?: string;
  /** Instructions of sirsi_call(ptr, len); locals $a and $b are i32, $w is i64. Must leave an i64. */
  readonly call?: string;
}

/** GuestResult { done {} } lies at 16, two bytes long. */
export const DONE = "(i64.const 0x1000000002)";
export const REQUEST_IMPORT = '(import "sirsi" "request" (func $request (param i32 i32) (result i64)))';

const ABI = '(func (export "sirsi_abi") (result i32) (i32.const 1))';

/** A region: everything is given back when the last room is freed. Room starts at 4096. */
const ALLOC = `(func $alloc (export "sirsi_alloc") (param $len i32) (result i32) (local $ptr i32)
    (local.set $ptr (global.get $heap))
    (global.set $heap (i32.add (local.get $ptr) (i32.and (i32.add (local.get $len) (i32.const 7)) (i32.const -8))))
    (block $fits (loop $more
      (br_if $fits (i32.le_u (global.get $heap) (i32.shl (memory.size) (i32.const 16))))
      (if (i32.eq (memory.grow (i32.const 1)) (i32.const -1)) (then (global.set $heap (local.get $ptr)) (return (i32.const 0))))
      (br $more)))
    (global.set $live (i32.add (global.get $live) (i32.const 1)))
    (local.get $ptr))`;
const FREE = `(func $free (export "sirsi_free") (param $ptr i32)
    (if (i32.ge_u (local.get $ptr) (i32.const 4096)) (then
      (global.set $live (i32.sub (global.get $live) (i32.const 1)))
      (if (i32.eqz (global.get $live)) (then (global.set $heap (i32.const 4096)))))))`;

export function guestText(parts: GuestParts = {}): string {
  return `(module
  ${parts.imports ?? ""}
  ${parts.memory ?? '(memory (export "memory") 1)'}
  (data (i32.const 16) "\\12\\00")
  (global $heap (mut i32) (i32.const 4096))
  (global $live (mut i32) (i32.const 0))
  ${parts.fields ?? ""}
  ${parts.abi ?? ABI}
  ${parts.alloc ?? ALLOC}
  ${parts.free ?? FREE}
  (func $call (export "sirsi_call") (param $ptr i32) (param $len i32) (result i64) (local $a i32) (local $b i32) (local $w i64)
    ${parts.call ?? DONE})
)`;
}

/** The binary of a module's text, as it is: not validated, so that a test can build nonsense. */
export function assemble(text: string): Uint8Array {
  const module = binaryen.parseText(text);
  try {
    module.setFeatures(FEATURES);
    return module.emitBinary();
  } finally {
    module.dispose();
  }
}

export function withManifest(wasm: Uint8Array, manifest: unknown): Uint8Array {
  return withSection(wasm, MANIFEST_SECTION, Buffer.from(typeof manifest === "string" ? manifest : JSON.stringify(manifest)));
}

export function withSection(wasm: Uint8Array, name: string, contents: Uint8Array): Uint8Array {
  return new Uint8Array(Buffer.concat([wasm, customSection(name, contents)]));
}

export type ManifestFields = Readonly<Record<string, unknown>>;

/** A valid guest that answers every call with Done, unless `parts` say otherwise. */
export function guestModule(manifest: ManifestFields = {}, parts: GuestParts = {}): Uint8Array {
  return withManifest(assemble(guestText(parts)), { name: "sample", version: "1.0.0", ...manifest });
}

/** Waits once and answers Done; counts its calls in a global and sums bytes in a local across the wait. */
export function waitingModule(manifest: ManifestFields = {}): Uint8Array {
  return guestModule(
    { requests: ["ask"], ...manifest },
    {
      imports: REQUEST_IMPORT,
      fields: '(global $calls (mut i64) (i64.const 0)) (func (export "calls") (result i64) (global.get $calls))',
      call: `(global.set $calls (i64.add (global.get $calls) (i64.const 1)))
        (local.set $w (call $request (i32.const 16) (i32.const 2)))
        (call $free (i32.wrap_i64 (i64.shr_u (local.get $w) (i64.const 32))))
        (call $free (local.get $ptr))
        ${DONE}`,
    },
  );
}

/** Modules that admission must refuse, each with words that its reason contains. */
export const REFUSED_MODULES: Readonly<Record<string, { readonly bytes: () => Uint8Array; readonly reason: RegExp }>> = {
  "wrong ABI": { bytes: () => guestModule({ abi: 2 }), reason: /abi must be 1/ },
  "missing export": { bytes: () => guestModule({}, { free: "(func $free (param i32))" }), reason: /does not export sirsi_free/ },
  "wrong signature": { bytes: () => guestModule({}, { abi: '(func (export "sirsi_abi") (result i64) (i64.const 1))' }), reason: /sirsi_abi is \(\) -> \(i64\) and must be \(\) -> \(i32\)/ },
  "export handed back": { bytes: () => guestModule({}, { imports: '(import "sirsi" "now" (func $now (result i64)))', abi: '(export "sirsi_abi" (func $now))' }), reason: /an import handed back/ },
  "unknown import": { bytes: () => guestModule({}, { imports: '(import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))' }), reason: /wasi_snapshot_preview1\.fd_write/ },
  "misspelt import": { bytes: () => guestModule({}, { imports: '(import "sirsi" "requst" (func (param i32 i32) (result i64)))' }), reason: /did you mean "sirsi\.request"\?/ },
  "import of the wrong type": { bytes: () => guestModule({}, { imports: '(import "sirsi" "log" (func (param i32)))' }), reason: /sirsi\.log as \(i32\)/ },
  "no memory": { bytes: () => withManifest(assemble('(module (func (export "sirsi_abi") (result i32) (i32.const 1)) (func (export "sirsi_alloc") (param i32) (result i32) (i32.const 0)) (func (export "sirsi_free") (param i32)) (func (export "sirsi_call") (param i32 i32) (result i64) (i64.const 0)))'), { name: "sample", version: "1.0.0" }), reason: /has no memory/ },
  "memory not exported": { bytes: () => guestModule({}, { memory: "(memory 1)" }), reason: /does not export its memory/ },
  "shared memory": { bytes: () => guestModule({}, { memory: '(memory (export "memory") 1 2 shared)' }), reason: /memory is shared/ },
  "initial memory over the limit": { bytes: () => guestModule({ limits: { memoryMaxBytes: 65_536 } }, { memory: '(memory (export "memory") 2)' }), reason: /starts with 131072 bytes/ },
  "reserved export": { bytes: () => guestModule({}, { fields: '(func (export "asyncify_start_unwind") (param i32))' }), reason: /a name that preparation adds/ },
  "tail call": { bytes: () => guestModule({}, { call: "(return_call $call (local.get $ptr) (local.get $len))" }), reason: /tail calls/ },
  "atomics": { bytes: () => guestModule({}, { call: `(drop (i32.atomic.load (i32.const 0))) ${DONE}` }), reason: /atomic/ },
  "huge table": { bytes: () => guestModule({}, { fields: "(table 1000000 funcref)" }), reason: /table of 1000000 entries/ },
  "table without end": { bytes: () => guestModule({}, { fields: "(table $t 1 funcref)", call: `(drop (table.grow $t (ref.null func) (i32.const 1000))) ${DONE}` }), reason: /any number of entries/ },
  "unknown capability": { bytes: () => guestModule({ requests: ["slep"] }), reason: /did you mean "sleep"\?/ },
  "no manifest": { bytes: () => assemble(guestText()), reason: /no sirsi\.manifest section/ },
  "two manifests": { bytes: () => withManifest(guestModule(), { name: "sample", version: "1.0.0" }), reason: /2 sirsi\.manifest sections/ },
  "component": { bytes: () => Uint8Array.from([0, 97, 115, 109, 13, 0, 1, 0]), reason: /components are not yet taken/ },
  "not WebAssembly": { bytes: () => new Uint8Array(Buffer.from("#!/bin/sh\nexit 0\n")), reason: /does not start as WebAssembly/ },
  "empty": { bytes: () => new Uint8Array(0), reason: /ends inside the preamble/ },
};

/** Cut short at two thirds, in the middle of a section. */
export function truncatedModule(): Uint8Array {
  const whole = guestModule();
  return whole.slice(0, Math.floor((whole.length * 2) / 3));
}

/** A valid guest padded by a custom section beyond `bytes`. */
export function oversizedModule(bytes: number): Uint8Array {
  return withSection(guestModule(), "padding", new Uint8Array(bytes));
}

/** Modules that are admitted and misbehave when they run. */
export const HOSTILE_MODULES: Readonly<Record<string, (manifest?: ManifestFields) => Uint8Array>> = {
  startTraps: (manifest) => guestModule(manifest, { fields: "(func $start (unreachable)) (start $start)" }),
  startLoops: (manifest) => guestModule(manifest, { fields: "(func $start (loop $l (br $l))) (start $start)" }),
  traps: (manifest) => guestModule(manifest, { call: "(unreachable)" }),
  infiniteLoop: (manifest) => guestModule(manifest, { call: `(loop $l (br $l)) ${DONE}` }),
  memoryHungry: (manifest) => guestModule(manifest, { call: `(loop $l (br_if $l (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (unreachable)` }),
  bulkFill: (manifest) => guestModule(manifest, { memory: '(memory (export "memory") 512)', call: `(loop $l (memory.fill (i32.const 4096) (i32.const 1) (i32.const 33000000)) (br $l)) ${DONE}` }),
  deepRecursion: (manifest) => guestModule(manifest, { fields: "(func $down (param i64) (result i64) (i64.add (i64.const 1) (call $down (i64.add (local.get 0) (i64.const 1)))))", call: `(call $down (i64.const 0))` }),
  /** Says that room begins where memory ends. */
  allocLies: (manifest) => guestModule(manifest, { alloc: '(func $alloc (export "sirsi_alloc") (param i32) (result i32) (i32.const -16))' }),
  allocFails: (manifest) => guestModule(manifest, { alloc: '(func $alloc (export "sirsi_alloc") (param i32) (result i32) (i32.const 0))' }),
  allocTraps: (manifest) => guestModule(manifest, { alloc: '(func $alloc (export "sirsi_alloc") (param i32) (result i32) (unreachable))' }),
  /** Its result's pointer is outside of its memory. */
  pointerLies: (manifest) => guestModule(manifest, { call: "(i64.const 0xfffffff000000010)" }),
  /** Its result's length is as long as can be written. */
  lengthLies: (manifest) => guestModule(manifest, { call: "(i64.const 0x10ffffffff)" }),
  /** Its result is no GuestResult. */
  malformedResult: (manifest) => guestModule(manifest, { fields: '(data (i32.const 32) "\\ff\\ff\\ff\\ff")', call: "(i64.const 0x2000000004)" }),
  /** sirsi_abi disagrees with the manifest. */
  abiLies: (manifest) => guestModule(manifest, { abi: '(func (export "sirsi_abi") (result i32) (i32.const 7))' }),
};
