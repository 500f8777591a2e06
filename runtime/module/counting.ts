/**
 * Writes the counting of work into a module's bytes.
 *
 * A counted function (see work-bounds.ts) pays fuel when it is entered and for its loops' turns: one,
 * and one more for every WORK_PER_FUEL that the region holds. A loop whose turns are short adds them up
 * in a local and pays TURNS_AT_ONCE together: a register is cheap to count in, a global is not. What has
 * been added up when the function returns is not paid; it is less than TURNS_AT_ONCE short turns.
 *
 * Adds a type, a global (the fuel) and two functions (refill, and pay for turns) that do nothing yet,
 * each behind what is there, so that no index changes. Only for a valid module: in another one an index
 * out of range would become the fuel's. V8 is told that the branches to those functions are unlikely, and
 * so keeps the calls, and the saving of registers around them, out of the way.
 */
import { WasmReader } from "./wasm-reader.ts";
import { boundWork, type FunctionWork } from "./work-bounds.ts";
import { customSection, section, unsignedLeb } from "./wasm-rewrite.ts";
import { readShape, type WasmShape } from "./wasm-shape.ts";

export const WORK_PER_FUEL = 256;
export const TURNS_AT_ONCE = 16;
/** A turn up to this long is added up. One that calls the host is longer. */
export const SHORT_TURN = 64;

const HINTS = "metadata.code.branch_hint";
const I32 = 0x7f;
const MUTABLE = 0x01;
const NO_LOCALS = 0;
/** A group of two: what is left of the fuel, and turns that were added up. */
const OWN_LOCALS = [2, I32];
const END = 0x0b;
const IF = [0x04, 0x40];
const CALL = 0x10;
const LOCAL_GET = 0x20;
const LOCAL_SET = 0x21;
const LOCAL_TEE = 0x22;
const GLOBAL_GET = 0x23;
const GLOBAL_SET = 0x24;
const I32_CONST = 0x41;
const I32_ADD = 0x6a;
const I32_SUB = 0x6b;
const I32_LT_S = 0x48;
const I32_GE_U = 0x4f;
const VOID_FUNCTION = [0x60, 0, 0];

const TYPES = 1;
const FUNCTIONS = 3;
const GLOBALS = 6;
const CODE = 10;
const CUSTOM = 0;
/** Custom ones apart: function names come last. */
const SECTION_ORDER = [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 10, 11];
const PREAMBLE_BYTES = 8;

interface Indices {
  readonly fuel: number;
  readonly refill: number;
  readonly payTurns: number;
}

/** Code that counts; `branch` is the place of its `if` in it. */
interface Counting {
  readonly code: readonly number[];
  readonly branch: number;
}

/** The last two functions of the module it returns refill and pay for turns; its last global is the fuel. */
export function addCounting(bytes: Uint8Array): Uint8Array {
  const shape = readShape(bytes);
  const indices: Indices = { fuel: shape.globals.length, refill: shape.functions.length, payTurns: shape.functions.length + 1 };
  const bodies: Uint8Array[] = [];
  const hints: number[][] = [];
  for (const [i, work] of boundWork(bytes, shape).entries()) {
    const { body, branches } = countedBody(bytes, work, indices);
    bodies.push(Uint8Array.from(unsignedLeb(body.length)), body);
    if (branches.length > 0) hints.push([...unsignedLeb(shape.importedFunctions + i), ...unsignedLeb(branches.length), ...branches.flatMap((at) => [...unsignedLeb(at), 1, 0])]);
  }
  const nothing = [2, NO_LOCALS, END];
  const own = shape.functions.length - shape.importedFunctions;
  const code = section(CODE, Buffer.concat([Uint8Array.from(unsignedLeb(own + 2)), ...bodies, Uint8Array.from([...nothing, ...nothing])]));
  const hinting = customSection(HINTS, Uint8Array.from([...unsignedLeb(hints.length), ...hints.flat()]));
  return assemble(bytes, shape, Buffer.concat([hinting, code]));
}

/** The module with one more type, two more functions, one more global and other code. */
function assemble(bytes: Uint8Array, shape: WasmShape, hintsAndCode: Uint8Array): Uint8Array {
  const type = unsignedLeb(shape.types.length);
  const replaced = new Map<number, Uint8Array>([
    [TYPES, extended(bytes, shape, TYPES, 1, VOID_FUNCTION)],
    [FUNCTIONS, extended(bytes, shape, FUNCTIONS, 2, [...type, ...type])],
    [GLOBALS, extended(bytes, shape, GLOBALS, 1, [I32, MUTABLE, I32_CONST, 0, END])],
    [CODE, hintsAndCode],
  ]);
  const parts: Uint8Array[] = [bytes.subarray(0, PREAMBLE_BYTES)];
  for (const id of [...SECTION_ORDER, CUSTOM]) {
    const ours = replaced.get(id);
    if (ours !== undefined) parts.push(ours);
    else for (const span of shape.sections) if (span.id === id) parts.push(bytes.subarray(span.start, span.end));
  }
  return Buffer.concat(parts);
}

/** A section that is a list, with more behind its last entry. */
function extended(bytes: Uint8Array, shape: WasmShape, id: number, more: number, entries: readonly number[]): Uint8Array {
  const span = shape.sections.find((one) => one.id === id);
  const reader = new WasmReader(bytes, span?.bodyStart ?? 0, span?.end ?? 0);
  const count = span === undefined ? 0 : reader.u32("the number of a section's entries");
  return section(id, Buffer.concat([Uint8Array.from(unsignedLeb(count + more)), reader.rest(), Uint8Array.from(entries)]));
}

/** `branches` are the places, in the body, of the ifs that it gained. */
function countedBody(bytes: Uint8Array, work: FunctionWork, indices: Indices): { readonly body: Uint8Array; readonly branches: readonly number[] } {
  if (!work.counted) return { body: bytes.subarray(work.start, work.end), branches: [] };
  const countings = countingsOf(work, indices);
  const codeStart = work.regions[0]?.start ?? work.end;
  const groups = unsignedLeb(work.localGroups + 1);
  const added = countings.reduce((sum, { code }) => sum + code.length, groups.length + OWN_LOCALS.length);
  const body = new Uint8Array(work.end - work.groupsStart + added);
  let at = 0;
  const write = (part: ArrayLike<number>) => {
    body.set(part, at);
    at += part.length;
  };
  write(groups);
  write(bytes.subarray(work.groupsStart, codeStart));
  write(OWN_LOCALS);
  const branches: number[] = [];
  for (const [i, { code, branch }] of countings.entries()) {
    branches.push(at + branch);
    write(code);
    write(bytes.subarray(work.regions[i]?.start, work.regions[i + 1]?.start ?? work.end));
  }
  return { body, branches };
}

/** One for each region. Equal ones are shared: a file may hold millions of loops. */
function countingsOf(work: FunctionWork, indices: Indices): readonly Counting[] {
  const left = work.locals;
  const adding = addUp(work.locals + 1, indices);
  const paying = new Map<number, Counting>();
  return work.regions.map((region, i) => {
    if (i > 0 && region.work <= SHORT_TURN) return adding;
    const price = 1 + Math.floor(region.work / WORK_PER_FUEL);
    let counting = paying.get(price);
    if (counting === undefined) paying.set(price, (counting = pay(price, left, indices)));
    return counting;
  });
}

/** left = fuel - price; fuel = left; if (left < 0) refill(). */
function pay(price: number, left: number, { fuel, refill }: Indices): Counting {
  const [global, local] = [unsignedLeb(fuel), unsignedLeb(left)];
  const head = [GLOBAL_GET, ...global, I32_CONST, ...signedLeb(price), I32_SUB, LOCAL_TEE, ...local, GLOBAL_SET, ...global, LOCAL_GET, ...local, I32_CONST, 0, I32_LT_S];
  return { code: [...head, ...IF, CALL, ...unsignedLeb(refill), END], branch: head.length };
}

/** turns = turns + 1; if (turns >= TURNS_AT_ONCE) { turns = 0; payTurns() }. */
function addUp(turns: number, { payTurns }: Indices): Counting {
  const local = unsignedLeb(turns);
  const head = [LOCAL_GET, ...local, I32_CONST, 1, I32_ADD, LOCAL_TEE, ...local, I32_CONST, ...signedLeb(TURNS_AT_ONCE), I32_GE_U];
  return { code: [...head, ...IF, I32_CONST, 0, LOCAL_SET, ...local, CALL, ...unsignedLeb(payTurns), END], branch: head.length };
}

/** Of a number that is not negative: another byte where the sign's bit would be set. */
function signedLeb(value: number): readonly number[] {
  const bytes = unsignedLeb(value);
  const last = bytes.at(-1) ?? 0;
  return last < 0x40 ? bytes : [...bytes.slice(0, -1), last | 0x80, 0];
}
