import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import { SirsiError } from "../../../runtime/core/errors.ts";
import { inspect } from "../../../runtime/module/inspect.ts";
import { readShape } from "../../../runtime/module/wasm-shape.ts";
import { section } from "../../../runtime/module/wasm-rewrite.ts";
import { assemble, DONE, guestModule, guestText, oversizedModule, REQUEST_IMPORT, truncatedModule, waitingModule, withSection } from "../../support/wat.ts";

const MAX = 1024 * 1024;
const PREAMBLE = [0, 97, 115, 109, 1, 0, 0, 0];

function refusal(bytes: Uint8Array): string {
  try {
    readShape(bytes);
    return "";
  } catch (thrown) {
    expect(thrown).toBeInstanceOf(SirsiError);
    expect((thrown as SirsiError).code).toBe("MODULE_REJECTED");
    return (thrown as SirsiError).message;
  }
}

const raw = (...sections: Uint8Array[]) => new Uint8Array(Buffer.concat([Uint8Array.from(PREAMBLE), ...sections]));
const part = (id: number, ...body: number[]) => section(id, Uint8Array.from(body));

describe("inspect", () => {
  it("tells digest, size, manifest, imports and exports", () => {
    const bytes = waitingModule();
    const found = inspect(bytes, null, MAX);
    expect(found.digest).toBe(createHash("sha256").update(bytes).digest("hex"));
    expect(found.sizeBytes).toBe(bytes.length);
    expect(found.manifest.name).toBe("sample");
    expect(found.imports).toEqual(["sirsi.request (func)"]);
    expect(found.exports).toEqual(["memory (memory)", "calls (func)", "sirsi_abi (func)", "sirsi_alloc (func)", "sirsi_free (func)", "sirsi_call (func)"]);
    expect(found.uncapturable).toBe("");
  });

  it("reads functions, globals, memory and start of a module", () => {
    const shape = readShape(assemble(guestText({ imports: REQUEST_IMPORT, fields: "(func $go) (start $go) (global f64 (f64.const 1)) (table 3 9 funcref)" })));
    expect(shape.importedFunctions).toBe(1);
    expect(shape.functions[0]).toEqual({ params: ["i32", "i32"], results: ["i64"] });
    expect(shape.start).not.toBeNull();
    expect(shape.memories).toEqual([{ initial: 1, maximum: null, shared: false, is64: false }]);
    expect(shape.tables).toEqual([{ initial: 3, maximum: 9, shared: false, is64: false }]);
    expect(shape.globals).toEqual([{ type: "i32", mutable: true }, { type: "i32", mutable: true }, { type: "f64", mutable: false }]);
  });

  it("steps over every kind of instruction that it takes", () => {
    const shape = readShape(
      assemble(
        guestText({
          fields: `(table $t 4 funcref) (elem (i32.const 0) $call) (type $void (func))
            (func $all (param i32 f32 f64 v128) (result i32) (local $v v128)
              (block $b (br_table $b $b (local.get 0)))
              (drop (select (result i32) (i32.const -2147483648) (i32.const 1) (local.get 0)))
              (drop (f32.add (f32.const 1.5) (local.get 1))) (drop (f64.const 2.5)) (drop (i64.const -9223372036854775808))
              (drop (ref.is_null (ref.null func))) (drop (ref.func $call)) (drop (memory.grow (memory.size)))
              (drop (i32.trunc_sat_f64_s (local.get 2))) (drop (table.get $t (i32.const 0))) (drop (table.size $t))
              (local.set $v (i8x16.shuffle 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 (local.get 3) (v128.const i64x2 1 2)))
              (drop (i32x4.extract_lane 2 (local.get $v))) (v128.store8_lane 3 (i32.const 0) (local.get $v)) (drop (v128.load32_zero (i32.const 0)))
              (drop (v128.load (i32.const 0))) (drop (i32x4.add (local.get $v) (local.get 3)))
              (call_indirect $t (type $void) (i32.const 1))
              (memory.copy (i32.const 0) (i32.const 1) (i32.const 2))
              (if (result i32) (local.get 0) (then (i32.load offset=70000 (i32.const 1))) (else (i32.const 7))))`,
        }),
      ),
    );
    expect(shape.uses).toEqual({ bulkMemory: true, memoryInit: false, memoryGrow: true, dataDrop: false, tableSet: false, tableGrow: false, tableBulk: false, elemDrop: false });
  });

  it.each([
    ["table.set", "(table $t 2 2 funcref)", "(table.set $t (i32.const 0) (ref.null func))", /changes a table/],
    ["table.grow", "(table $t 2 8 funcref)", "(drop (table.grow $t (ref.null func) (i32.const 1)))", /changes a table/],
    ["table.fill", "(table $t 2 2 funcref)", "(table.fill $t (i32.const 0) (ref.null func) (i32.const 1))", /changes a table/],
    ["elem.drop", "(table $t 2 2 funcref) (elem $e func $call)", "(table.init $t $e (i32.const 0) (i32.const 0) (i32.const 1)) (elem.drop $e)", /element segments/],
    ["data.drop", '(data $d "abc")', "(memory.init $d (i32.const 0) (i32.const 0) (i32.const 1)) (data.drop $d)", /drops data segments/],
    ["a mutable vector", "(global $v (mut v128) (v128.const i64x2 0 0))", "(global.set $v (v128.const i64x2 1 1))", /mutable global of type v128/],
    ["a mutable reference", "(global $r (mut funcref) (ref.null func))", "(global.set $r (ref.null func))", /mutable global of type funcref/],
  ])("says that %s keeps state where a checkpoint does not see it", (_, fields, call, reason) => {
    expect(inspect(guestModule({}, { fields, call: `${call} ${DONE}` }), null, MAX).uncapturable).toMatch(reason);
  });

  it.each([
    ["atomics", { call: `(drop (i32.atomic.rmw.add (i32.const 0) (i32.const 1))) ${DONE}` }, /atomic/],
    ["exceptions", { fields: "(tag $t)", call: `(throw $t)` }, /exceptions/],
    ["tail calls", { call: "(return_call $call (local.get 0) (local.get 1))" }, /tail calls/],
  ])("refuses %s", (_, parts, reason) => {
    expect(() => inspect(guestModule({}, parts), null, MAX)).toThrow(reason);
  });

  it.each([
    ["a section that claims more than is left", raw(Uint8Array.of(1, 100)), /claims 100 bytes and 0 are left/],
    ["a count that cannot be true", raw(part(1, 0xff, 0xff, 0xff, 0xff, 0x0f)), /claims 4294967295 types/],
    ["a number of more than 32 bits", raw(Uint8Array.of(1, 0xff, 0xff, 0xff, 0xff, 0x7f)), /not a 32-bit number/],
    ["sections out of order", raw(part(3, 0), part(1, 0)), /twice or out of order/],
    ["a section twice", raw(part(1, 0), part(1, 0)), /twice or out of order/],
    ["an unknown section", raw(part(42)), /section 42 is unknown/],
    ["a tag section", raw(part(13, 0)), /exceptions/],
    ["bytes after a section's contents", raw(part(1, 0, 7)), /1 bytes too many/],
    ["a function of a type that does not exist", raw(part(3, 1, 5)), /type 5 does not exist/],
    ["fewer bodies than functions", raw(part(1, 1, 0x60, 0, 0), part(3, 1, 0)), /declares 1 functions and has 0/],
    ["a name that is not UTF-8", raw(part(0, 2, 0xff, 0xfe)), /not UTF-8/],
    ["a 64-bit memory", raw(part(5, 1, 4, 1)), /64-bit/],
    ["a memory of an unknown form", raw(part(5, 1, 9, 1)), /limits of form/],
    ["an import of an unknown kind", raw(part(2, 1, 1, 97, 1, 98, 4)), /unknown kind/],
    ["an export of an unknown kind", raw(part(7, 1, 1, 97, 4, 0)), /unknown kind/],
    ["a struct type", raw(part(1, 1, 0x5f, 1, 0x7f, 0)), /garbage-collected types/],
    ["a struct instruction", raw(part(1, 1, 0x60, 0, 0), part(3, 1, 0), part(10, 1, 5, 0, 0xfb, 0, 0, 0x0b)), /garbage-collected/],
    ["a null of another heap type", raw(part(6, 1, 0x70, 0, 0xd0, 0x6e, 0x0b)), /garbage-collected/],
    ["a typed reference", raw(part(1, 1, 0x60, 1, 0x64, 0)), /value type 0x64/],
    ["a body that does not end", raw(part(1, 1, 0x60, 0, 0), part(3, 1, 0), part(10, 1, 2, 0, 0x01)), /ends inside an expression/],
    ["bytes after a body's end", raw(part(1, 1, 0x60, 0, 0), part(3, 1, 0), part(10, 1, 3, 0, 0x0b, 0x01)), /bytes after its end/],
    ["an unknown instruction", raw(part(1, 1, 0x60, 0, 0), part(3, 1, 0), part(10, 1, 3, 0, 0x27, 0x0b)), /instruction 0x27/],
    ["an unknown data segment", raw(part(11, 1, 9, 0)), /data segment form 9/],
    ["an unknown element segment", raw(part(9, 1, 9, 0)), /element segment form 9/],
    ["another version", Uint8Array.from([0, 97, 115, 109, 2, 0, 0, 0]), /version bytes are 2,0,0,0/],
    ["a second memory's index", raw(part(1, 1, 0x60, 0, 0), part(3, 1, 0), part(10, 1, 5, 0, 0x3f, 1, 0x1a, 0x0b)), /more than one memory/],
    ["relaxed vectors", raw(part(1, 1, 0x60, 0, 0), part(3, 1, 0), part(10, 1, 5, 0, 0xfd, 0x80, 0x02, 0x0b)), /relaxed/],
    ["an unknown 0xfc instruction", raw(part(1, 1, 0x60, 0, 0), part(3, 1, 0), part(10, 1, 4, 0, 0xfc, 0x7f, 0x0b)), /0xfc 127/],
  ])("refuses %s and says where", (_, bytes, reason) => {
    expect(refusal(bytes)).toMatch(reason);
  });

  it("refuses a truncated file and an oversized one", () => {
    expect(() => inspect(truncatedModule(), null, MAX)).toThrow(/not well-formed/);
    expect(() => inspect(oversizedModule(MAX), null, MAX)).toThrow(expect.objectContaining({ code: "MODULE_TOO_LARGE" }));
  });

  it("passes over other custom sections", () => {
    expect(inspect(withSection(guestModule(), "producers", Uint8Array.of(1, 2, 3)), null, MAX).manifest.version).toBe("1.0.0");
  });
});
