/** Guests that answer what a test tells them to, bytes and lies alike. */
import { guestModule, type ManifestFields, REQUEST_IMPORT } from "./wat.ts";

const MAGIC = [0xfe, 0xed, 0xfa, 0xce] as const;
const HEAD_BYTES = 17;
const EMIT_IMPORT = '(import "sirsi" "emit" (func $emit (param i32 i32)))';

export type ScriptVerb = "answer" | "emit" | "request";
const VERBS: readonly ScriptVerb[] = ["answer", "emit", "request"];

export interface Script {
  readonly verb: ScriptVerb;
  readonly payload: Uint8Array;
  /** In place of where the payload lies: whatever the guest claims. */
  readonly lie?: { readonly pointer: number; readonly length: number };
}

/** A script as bytes: send them to the guest as an attachment's data. */
export function scriptBytes({ verb, payload, lie }: Script): Uint8Array {
  const bytes = Buffer.alloc(HEAD_BYTES + payload.length);
  bytes.set(MAGIC, 0);
  bytes.writeUInt8(VERBS.indexOf(verb) + (lie === undefined ? 0 : 4), 4);
  bytes.writeUInt32LE((lie?.pointer ?? 0) >>> 0, 5);
  bytes.writeUInt32LE((lie?.length ?? 0) >>> 0, 9);
  bytes.writeUInt32LE(payload.length, 13);
  bytes.set(payload, HEAD_BYTES);
  return bytes;
}

/**
 * Looks for a script in what it is sent and does it: answers the bytes, or emits them or
 * requests with them and answers an empty message. Answers every other call in order.
 */
export function scriptedModule(manifest: ManifestFields = {}): Uint8Array {
  return guestModule(
    { name: "scripted", durability: "none", requests: ["ask", "sleep"], ...manifest },
    {
      imports: `${REQUEST_IMPORT} ${EMIT_IMPORT}`,
      fields: `(data (i32.const 24) "\\1a\\00")
        (func $obey (param $ptr i32) (param $at i32) (result i64) (local $verb i32) (local $p i32) (local $l i32) (local $w i64)
          (local.set $verb (i32.load8_u (local.get $at)))
          (local.set $p (i32.load (i32.add (local.get $at) (i32.const 1))))
          (local.set $l (i32.load (i32.add (local.get $at) (i32.const 5))))
          (if (i32.lt_u (local.get $verb) (i32.const 4)) (then
            (local.set $p (i32.add (local.get $at) (i32.const 13)))
            (local.set $l (i32.load (i32.add (local.get $at) (i32.const 9))))))
          (local.set $verb (i32.and (local.get $verb) (i32.const 3)))
          (if (i32.eqz (local.get $verb)) (then
            (return (i64.or (i64.shl (i64.extend_i32_u (local.get $p)) (i64.const 32)) (i64.extend_i32_u (local.get $l))))))
          (if (i32.eq (local.get $verb) (i32.const 1)) (then (call $emit (local.get $p) (local.get $l))))
          (if (i32.eq (local.get $verb) (i32.const 2)) (then
            (local.set $w (call $request (local.get $p) (local.get $l)))
            (call $free (i32.wrap_i64 (i64.shr_u (local.get $w) (i64.const 32))))))
          (call $free (local.get $ptr))
          (i64.const 0x1800000002))`,
      call: `(local.set $a (local.get $ptr))
        (local.set $b (i32.sub (i32.add (local.get $ptr) (local.get $len)) (i32.const ${HEAD_BYTES - 1})))
        (block $none (loop $next
          (br_if $none (i32.ge_s (local.get $a) (local.get $b)))
          (if (i32.eq (i32.load (local.get $a)) (i32.const 0xcefaedfe)) (then (return (call $obey (local.get $ptr) (i32.add (local.get $a) (i32.const 4))))))
          (local.set $a (i32.add (local.get $a) (i32.const 1)))
          (br $next)))
        (local.set $b (i32.load8_u (local.get $ptr)))
        (call $free (local.get $ptr))
        (if (i32.eq (local.get $b) (i32.const 0x12)) (then (return (i64.const 0x1800000002))))
        (i64.const 0x1000000002)`,
    },
  );
}

/** Field numbers of GuestCall, as the first byte of each. */
const CALL_TAGS = { init: 0x0a, message: 0x12, suggest: 0x1a, event: 0x22, save: 0x42, load: 0x4a, shutdown: 0x52 } as const;

/** Answers each kind of call with fixed bytes, and those that are not named with Done. */
export function answeringModule(answers: { readonly [Kind in keyof typeof CALL_TAGS]?: Uint8Array }, manifest: ManifestFields = {}): Uint8Array {
  let at = 65_536;
  const data: string[] = [];
  const branches: string[] = [];
  for (const [kind, bytes] of Object.entries(answers)) {
    data.push(`(data (i32.const ${at}) "${[...bytes].map((byte) => `\\${byte.toString(16).padStart(2, "0")}`).join("")}")`);
    branches.push(`(if (i32.eq (local.get $a) (i32.const ${CALL_TAGS[kind as keyof typeof CALL_TAGS]})) (then (return (i64.const ${(BigInt(at) << 32n) | BigInt(bytes.length)}))))`);
    at += Math.ceil(bytes.length / 8) * 8;
  }
  return guestModule(
    { name: "answering", ...manifest },
    {
      memory: `(memory (export "memory") ${Math.ceil(at / 65_536) + 1})`,
      fields: data.join("\n"),
      // What lies above is no room of the allocator's: it is never taken back.
      free: `(func $free (export "sirsi_free") (param $ptr i32)
        (if (i32.and (i32.ge_u (local.get $ptr) (i32.const 4096)) (i32.lt_u (local.get $ptr) (i32.const 65536))) (then
          (global.set $live (i32.sub (global.get $live) (i32.const 1)))
          (if (i32.eqz (global.get $live)) (then (global.set $heap (i32.const 4096)))))))`,
      call: `(local.set $a (i32.load8_u (local.get $ptr))) (call $free (local.get $ptr)) ${branches.join("\n")} (i64.const 0x1000000002)`,
    },
  );
}
