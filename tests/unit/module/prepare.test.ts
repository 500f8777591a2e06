import { readFileSync } from "node:fs";
import binaryen from "binaryen";
import { describe, expect, it } from "vitest";
import { FUEL_SLICE, PREPARED } from "../../../runtime/contract/guest-abi.ts";
import { inspect } from "../../../runtime/module/inspect.ts";
import { prepare } from "../../../runtime/module/prepare.ts";
import { PREPARATION, type PreparedModule } from "../../../runtime/module/prepared.ts";
import { assemble, DONE, guestModule, guestText, HOSTILE_MODULES, REQUEST_IMPORT, waitingModule, withManifest } from "../../support/wat.ts";

const MIB = 1024 * 1024;

function prepared(bytes: Uint8Array, memoryMaxBytes = MIB): PreparedModule {
  return prepare(bytes, inspect(bytes, null, 32 * MIB), memoryMaxBytes);
}

interface Guest {
  readonly exports: Record<string, (...args: never[]) => number | bigint>;
  readonly memory: WebAssembly.Memory;
  readonly globals: WebAssembly.Global[];
  readonly fuel: WebAssembly.Global<number>;
}

interface Host {
  refills: number;
  refusedGrowths: number;
  /** Throws when it is used up. */
  slices: number;
  request: (guest: Guest) => bigint;
}

class OutOfFuel extends RangeError {}

function newHost(request: Host["request"] = () => 0n): Host {
  return { refills: 0, refusedGrowths: 0, slices: 5, request };
}

function instantiate(module: PreparedModule, host: Host): Guest {
  const made: { guest: Guest | null } = { guest: null };
  const instance = new WebAssembly.Instance(new WebAssembly.Module(module.wasm), {
    sirsi: { request: () => host.request(made.guest!) },
    [PREPARED.importModule]: {
      [PREPARED.refused]: () => void (host.refusedGrowths += 1),
      [PREPARED.refill]: () => {
        host.refills += 1;
        if (host.refills > host.slices) throw new OutOfFuel();
        return FUEL_SLICE;
      },
    },
  });
  const exports = instance.exports as Guest["exports"] & Record<string, never>;
  made.guest = {
    exports,
    memory: exports["memory"] as unknown as WebAssembly.Memory,
    globals: module.globals.map(({ name }) => exports[name] as unknown as WebAssembly.Global),
    fuel: exports[PREPARED.fuel] as unknown as WebAssembly.Global<number>,
  };
  return made.guest;
}

const call = (guest: Guest, ptr = 0, len = 0) => (guest.exports["sirsi_call"] as unknown as (p: number, l: number) => bigint)(ptr, len);
const poke = (guest: Guest, name: string, ...args: number[]) => (guest.exports[name] as unknown as (...a: number[]) => number)(...args);
const asyncifyState = (guest: Guest) => poke(guest, "asyncify_get_state");

/** What a checkpoint does: memory and globals out of one instance, into another. */
function moveState(from: Guest, to: Guest): void {
  const pages = (from.memory.buffer.byteLength - to.memory.buffer.byteLength) / 65_536;
  if (pages > 0) to.memory.grow(pages);
  new Uint8Array(to.memory.buffer).set(new Uint8Array(from.memory.buffer));
  from.globals.forEach((global, i) => (to.globals[i]!.value = global.value));
}

describe("prepare", () => {
  it("is named after the Binaryen that is installed", () => {
    const { version } = JSON.parse(readFileSync(new URL("../../../node_modules/binaryen/package.json", import.meta.url), "utf8")) as { version: string };
    expect(PREPARATION).toContain(`binaryen-${version}`);
  });

  it("keeps what a guest answers", () => {
    const guest = instantiate(prepared(guestModule()), newHost());
    expect(call(guest)).toBe(0x1000000002n);
    expect([...new Uint8Array(guest.memory.buffer, 16, 2)]).toEqual([0x12, 0]);
  });

  it("is the same bytes for the same module", () => {
    expect(prepared(waitingModule()).wasm).toEqual(prepared(waitingModule()).wasm);
  });

  it("ends an infinite loop by fuel", () => {
    const host = newHost();
    const guest = instantiate(prepared(HOSTILE_MODULES["infiniteLoop"]!()), host);
    expect(() => call(guest)).toThrow(OutOfFuel);
    expect(host.refills).toBe(6);
  });

  it("ends a start function that loops, by fuel", () => {
    expect(() => instantiate(prepared(HOSTILE_MODULES["startLoops"]!()), newHost())).toThrow(OutOfFuel);
  });

  it("counts entries of functions with loops, and short turns sixteen at a time, but no small function", () => {
    const bytes = guestModule({}, {
      fields: `(func $leaf (param i32) (result i32) (drop (memory.size)) (i32.add (local.get 0) (i32.const 1)))
        (func (export "small") (result i32) (call $leaf (call $leaf (i32.const 0))))
        (func (export "work") (param $turns i32) (result i32) (local $sum i32)
          (loop $l
            (local.set $sum (call $leaf (local.get $sum)))
            (br_if $l (local.tee $turns (i32.sub (local.get $turns) (i32.const 1)))))
          (local.get $sum))`,
    });
    const guest = instantiate(prepared(bytes), newHost());
    expect(poke(guest, "small")).toBe(2);
    expect(guest.fuel.value).toBe(0);
    guest.fuel.value = FUEL_SLICE;
    expect(poke(guest, "work", 100)).toBe(100);
    expect(FUEL_SLICE - guest.fuel.value).toBe(1 + 6 * 16);
  });

  it("charges a long turn at once, and more the longer it is", () => {
    const spent = (adds: number) => {
      const bytes = guestModule({}, {
        fields: `(global $sum (mut i32) (i32.const 0))
          (func (export "work") (param $turns i32)
            (loop $l
              ${"(global.set $sum (i32.add (global.get $sum) (local.get $turns)))".repeat(adds)}
              (br_if $l (local.tee $turns (i32.sub (local.get $turns) (i32.const 1))))))`,
      });
      const guest = instantiate(prepared(bytes), newHost());
      guest.fuel.value = FUEL_SLICE;
      poke(guest, "work", 10);
      return FUEL_SLICE - guest.fuel.value;
    };
    expect(spent(20)).toBe(1 + 10);
    expect(spent(200)).toBe(1 + 10 * 4);
  });

  it("charges a turn for what small functions do in it", () => {
    const bytes = guestModule({}, {
      fields: `(global $sum (mut i32) (i32.const 0))
        (func $small ${"(global.set $sum (i32.add (global.get $sum) (i32.const 1)))".repeat(50)})
        (func (export "work") (param $turns i32)
          (loop $l
            ${"(call $small)".repeat(10)}
            (br_if $l (local.tee $turns (i32.sub (local.get $turns) (i32.const 1))))))`,
    });
    const guest = instantiate(prepared(bytes), newHost());
    guest.fuel.value = FUEL_SLICE;
    poke(guest, "work", 100);
    expect(FUEL_SLICE - guest.fuel.value).toBe(1 + 100 * (1 + Math.floor((10 * 201) / 256)));
  });

  const CALLS = "(param $n i32) (result i32)";
  const fewer = "(i32.sub (local.get $n) (i32.const 1))";
  const twice = (call: string) => `(if (result i32) (i32.eqz (local.get $n)) (then (i32.const 1)) (else (i32.add ${call} ${call})))`;
  it.each([
    ["a function that calls itself", `(func $f (export "run") ${CALLS} ${twice(`(call $f ${fewer})`)})`],
    ["functions that call each other", `(func $f (export "run") ${CALLS} ${twice(`(call $g ${fewer})`)}) (func $g ${CALLS} ${twice(`(call $h ${fewer})`)}) (func $h ${CALLS} ${twice(`(call $f ${fewer})`)})`],
    ["functions that call each other through a table", `(type $t (func ${CALLS})) (table 2 2 funcref) (elem (i32.const 0) $f $g)
      (func $f (export "run") ${CALLS} ${twice(`(call_indirect (type $t) ${fewer} (i32.const 1))`)}) (func $g ${CALLS} ${twice(`(call $f ${fewer})`)})`],
    ["functions that call the next one twice each, without a loop", Array.from({ length: 28 }, (_, i) => `(func $f${i} ${i === 0 ? '(export "run")' : ""} ${CALLS} ${i === 27 ? "(local.get $n)" : `(i32.add (call $f${i + 1} (local.get $n)) (call $f${i + 1} (local.get $n)))`})`).join("\n")],
  ])("ends %s, by fuel", (_, fields) => {
    const guest = instantiate(prepared(guestModule({}, { fields })), { ...newHost(), slices: 0 });
    guest.fuel.value = FUEL_SLICE;
    expect(() => poke(guest, "run", 26)).toThrow(OutOfFuel);
  });

  it("counts every call of a recursion that ends", () => {
    const guest = instantiate(prepared(guestModule({}, { fields: `(func $down (export "down") ${CALLS} (if (result i32) (i32.eqz (local.get $n)) (then (i32.const 0)) (else (i32.add (i32.const 1) (call $down ${fewer})))))` })), newHost());
    guest.fuel.value = FUEL_SLICE;
    expect(poke(guest, "down", 1_000)).toBe(1_000);
    expect(FUEL_SLICE - guest.fuel.value).toBe(1_001);
  });

  it("gives no way to the fuel to a module that names what is not there", () => {
    const reaching = assemble(guestText({ fields: '(global $last (mut i32) (i32.const 0)) (func (export "cheat") (global.set $last (i32.const 77)))' }));
    const at = Buffer.from(reaching).lastIndexOf(Buffer.from([0x41, 0xcd, 0x00, 0x24, 2]));
    expect(at).toBeGreaterThan(0);
    reaching[at + 4] = 3;
    expect(() => prepared(withManifest(reaching, { name: "sample", version: "1.0.0" }))).toThrow(/not valid WebAssembly/);
  });

  it("charges filling and copying by their length", () => {
    const host = newHost();
    const guest = instantiate(prepared(HOSTILE_MODULES["bulkFill"]!(), 64 * MIB), host);
    expect(() => call(guest)).toThrow(OutOfFuel);
    expect(host.refills).toBe(6);
    const turns = Math.floor((5 * FUEL_SLICE) / (33_000_000 / 16));
    expect(turns).toBe(2);
  });

  it("keeps what memory.copy and memory.fill do, overlaps, empty runs and traps included", () => {
    const bytes = guestModule({}, {
      fields: `(func (export "copy") (param i32 i32 i32) (memory.copy (local.get 0) (local.get 1) (local.get 2)))
               (func (export "fill") (param i32 i32 i32) (memory.fill (local.get 0) (local.get 1) (local.get 2)))`,
    });
    const guest = instantiate(prepared(bytes), newHost());
    const memory = new Uint8Array(guest.memory.buffer);
    memory.set([1, 2, 3, 4, 5], 100);
    poke(guest, "copy", 102, 100, 5);
    poke(guest, "fill", 200, 7, 3);
    poke(guest, "copy", 65_536, 0, 0);
    poke(guest, "fill", 5_000, 9, 2_000);
    expect(memory.subarray(5_000, 7_000).every((byte) => byte === 9)).toBe(true);
    expect([...memory.subarray(100, 107)]).toEqual([1, 2, 1, 2, 3, 4, 5]);
    expect([...memory.subarray(200, 204)]).toEqual([7, 7, 7, 0]);
    expect(() => poke(guest, "fill", 65_530, 1, 7)).toThrow(WebAssembly.RuntimeError);
    expect(() => poke(guest, "copy", 0, 65_530, -1)).toThrow(WebAssembly.RuntimeError);
  });

  it("lowers the memory's maximum to the limit and keeps a smaller one", () => {
    const hungry = guestModule({}, { memory: '(memory (export "memory") 1 9)' });
    const grown = (bytes: Uint8Array, limit: number) => {
      const guest = instantiate(prepared(bytes, limit), newHost());
      while (true) {
        try {
          guest.memory.grow(1);
        } catch {
          return guest.memory.buffer.byteLength / 65_536;
        }
      }
    };
    expect(grown(hungry, 4 * 65_536)).toBe(4);
    expect(grown(hungry, 16 * 65_536)).toBe(9);
    expect(grown(guestModule(), 3 * 65_536 + 5)).toBe(3);
  });

  it("tells when memory.grow was refused, and leaves its answers as they are", () => {
    const host = newHost();
    const guest = instantiate(prepared(guestModule({}, { fields: '(func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))' }), 4 * 65_536), host);
    expect([poke(guest, "grow", 2), poke(guest, "grow", 0), host.refusedGrowths]).toEqual([1, 3, 0]);
    expect([poke(guest, "grow", 2), poke(guest, "grow", -1), host.refusedGrowths]).toEqual([-1, -1, 2]);
    expect([poke(guest, "grow", 1), host.refusedGrowths]).toEqual([3, 2]);
  });

  it("leaves a module alone that cannot wait", () => {
    const module = prepared(guestModule());
    expect(module.canWait).toBe(false);
    expect(Object.keys(instantiate(module, newHost()).exports)).not.toContain("asyncify_start_unwind");
    expect(module.globals).toEqual([{ name: "sirsi:g0", type: "i32" }, { name: "sirsi:g1", type: "i32" }]);
  });

  it("exports the module's own mutable numbers in index order, neither asyncify's nor the fuel", () => {
    const module = prepared(waitingModule());
    expect(module.canWait).toBe(true);
    expect(module.globals.map((global) => global.type)).toEqual(["i32", "i32", "i64"]);
    expect(module.globals.map((global) => global.name)).toEqual(["sirsi:g0", "sirsi:g1", "sirsi:g2"]);
    const exported = Object.keys(instantiate(module, newHost()).exports);
    expect(exported.filter((name) => name.startsWith(PREPARED.globalPrefix))).toHaveLength(3);
  });

  it("leaves the image that instances begin with as it is, start function included: states open under any preparation", () => {
    const bytes = guestModule({}, {
      memory: '(memory (export "memory") 2)',
      fields: `(data (i32.const 70000) "far")
        (func $start (local $i i32)
          (memory.fill (i32.const 1000) (i32.const 7) (i32.const 3000))
          (loop $l (i32.store (i32.add (i32.const 9000) (local.get $i)) (local.get $i)) (br_if $l (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 4))) (i32.const 400)))))
        (start $start)`,
    });
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), {});
    const { memory } = instantiate(prepared(bytes), newHost());
    expect(Buffer.compare(new Uint8Array(memory.buffer), new Uint8Array((exports["memory"] as WebAssembly.Memory).buffer))).toBe(0);
    expect(new Uint8Array(memory.buffer)[3_999]).toBe(7);
  });

  it("keeps function names for traces unless one is reserved", () => {
    const named = (name: string) => {
      const module = binaryen.parseText(guestText({ fields: `(func $${name} (call $${name}) (call $${name}) (unreachable))`, call: `(call $${name}) ${DONE}` }));
      binaryen.setDebugInfo(true);
      const bytes = withManifest(module.emitBinary(), { name: "sample", version: "1.0.0" });
      binaryen.setDebugInfo(false);
      module.dispose();
      return Buffer.from(prepared(bytes).wasm).includes(name);
    };
    expect(named("assembly/index/explode")).toBe(true);
    expect(named("__memory_copy")).toBe(false);
  });

  it("gives back Binaryen's global options", () => {
    const before = [binaryen.getOptimizeLevel(), binaryen.getDebugInfo(), binaryen.getPassArgument("asyncify-imports")];
    prepared(waitingModule());
    expect([binaryen.getOptimizeLevel(), binaryen.getDebugInfo(), binaryen.getPassArgument("asyncify-imports")]).toEqual(before);
  });
});

/** Waits in a loop of `turns`, four times deep, summing what it is answered. */
function loopingWaiter(): Uint8Array {
  return guestModule({ requests: ["ask"] }, {
    imports: REQUEST_IMPORT,
    fields: `(global $total (mut i64) (i64.const 0))
      (func (export "total") (result i64) (global.get $total))
      (func $spin (param $n i32) (loop $l (br_if $l (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
      (func $deep (param $depth i32) (result i64)
        (if (result i64) (local.get $depth)
          (then (call $spin (i32.const 1000)) (call $deep (i32.sub (local.get $depth) (i32.const 1))))
          (else (call $request (i32.const 16) (i32.const 2)))))`,
    call: `(loop $l
        (local.set $w (i64.add (local.get $w) (call $deep (i32.const 4))))
        (br_if $l (i32.lt_u (local.tee $a (i32.add (local.get $a) (i32.const 1))) (i32.const 3))))
      (global.set $total (local.get $w))
      (i64.add (local.get $w) (i64.extend_i32_u (local.get $ptr)))`,
  });
}

/** Unwinds at the request when asked for the first time, answers when rewound. */
function waitingHost(buffer: { ptr: number }, answer: { value: bigint }): Host {
  return newHost((guest) => {
    if (asyncifyState(guest) === 2) {
      poke(guest, "asyncify_stop_rewind");
      return answer.value;
    }
    if (buffer.ptr === 0) buffer.ptr = poke(guest, "sirsi_alloc", 4_096);
    new Uint32Array(guest.memory.buffer, buffer.ptr, 2).set([buffer.ptr + 8, buffer.ptr + 4_096]);
    poke(guest, "asyncify_start_unwind", buffer.ptr);
    return 0n;
  });
}

describe("a guest that waits", () => {
  it("is unwound, thrown away, restored in a new instance and resumed, at each wait of a loop", () => {
    const module = prepared(loopingWaiter());
    const buffer = { ptr: 0 };
    const answer = { value: 0n };
    const host = waitingHost(buffer, answer);
    let guest = instantiate(module, host);
    let result = call(guest, 5, 0);
    for (const value of [100n, 20n, 3n]) {
      expect(asyncifyState(guest)).toBe(1);
      poke(guest, "asyncify_stop_unwind");
      const fresh = instantiate(module, host);
      moveState(guest, fresh);
      guest = fresh;
      answer.value = value;
      poke(guest, "asyncify_start_rewind", buffer.ptr);
      result = call(guest);
    }
    expect(asyncifyState(guest)).toBe(0);
    expect(result).toBe(128n);
    expect(poke(guest, "total") as unknown as bigint).toBe(123n);
  });

  it("keeps sirsi_alloc and sirsi_free callable while it is suspended", () => {
    const buffer = { ptr: 0 };
    const answer = { value: 0n };
    const guest = instantiate(prepared(loopingWaiter()), waitingHost(buffer, answer));
    call(guest, 5, 0);
    poke(guest, "asyncify_stop_unwind");
    const room = poke(guest, "sirsi_alloc", 64);
    expect(room).toBeGreaterThan(buffer.ptr);
    new Uint8Array(guest.memory.buffer, room, 64).fill(255);
    answer.value = 1n;
    for (let i = 0; i < 3; i += 1) {
      poke(guest, "asyncify_start_rewind", buffer.ptr);
      call(guest);
      if (asyncifyState(guest) === 1) poke(guest, "asyncify_stop_unwind");
    }
    expect(poke(guest, "total") as unknown as bigint).toBe(3n);
  });

  it("pays fuel for what it computes and next to none for a rewind", () => {
    const buffer = { ptr: 0 };
    const answer = { value: 1n };
    const guest = instantiate(prepared(loopingWaiter()), waitingHost(buffer, answer));
    guest.fuel.value = FUEL_SLICE;
    call(guest, 0, 0);
    const computed = FUEL_SLICE - guest.fuel.value;
    expect(computed).toBeGreaterThan(3_900);
    poke(guest, "asyncify_stop_unwind");
    for (let i = 0; i < 2; i += 1) {
      poke(guest, "asyncify_start_rewind", buffer.ptr);
      call(guest);
      poke(guest, "asyncify_stop_unwind");
    }
    guest.fuel.value = FUEL_SLICE;
    poke(guest, "asyncify_start_rewind", buffer.ptr);
    call(guest);
    expect(asyncifyState(guest)).toBe(0);
    expect(FUEL_SLICE - guest.fuel.value).toBeLessThan(50);
  });

  it("traps at the end of an unwind that overran its buffer", () => {
    const host = newHost((guest) => {
      new Uint32Array(guest.memory.buffer, 1_024, 2).set([1_032, 1_036]);
      poke(guest, "asyncify_start_unwind", 1_024);
      return 0n;
    });
    const guest = instantiate(prepared(loopingWaiter()), host);
    call(guest);
    expect(() => poke(guest, "asyncify_stop_unwind")).toThrow(WebAssembly.RuntimeError);
  });
});

it("the bare minimum of a guest assembles", () => {
  expect(WebAssembly.validate(assemble(guestText()))).toBe(true);
});
