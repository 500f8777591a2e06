/**
 * How much a function can do between two counts, from its code alone.
 *
 * Work is measured in instructions; those that may take much longer weigh more. A function's
 * code falls into regions: what lies in no loop, and for each loop what lies in it and in no
 * loop within. A region runs at most once for each entry or turn, so its work is bounded.
 *
 * Invariants
 * - M1 A function with a loop is counted.
 * - M2 Every cycle of calls goes through a counted function: a function that calls through a
 *   table is counted, and so is one that a search along direct calls comes back to.
 * - M3 A function that is not counted does at most FREE_WORK a call, its calls of others that
 *   are not counted included; a region's work includes what such functions do for it.
 */
import { newInstructionUse, scanBody } from "./wasm-instructions.ts";
import { WasmReader } from "./wasm-reader.ts";
import type { WasmShape } from "./wasm-shape.ts";

/** What a function may do for each call without being counted. */
export const FREE_WORK = 256;
/** A call to the host, and an instruction that may move a kilobyte or ask the system for memory. */
const SLOW_WORK = 64;

const CODE_SECTION = 10;
const BLOCK = 0x02;
const LOOP = 0x03;
const IF = 0x04;
const END = 0x0b;
const CALL = 0x10;
const CALL_INDIRECT = 0x11;
const MEMORY_GROW = 0x40;
const MISCELLANEOUS = 0xfc;
/** Of that family, the first that is no conversion of a number. */
const FIRST_BULK = 8;

export interface Region {
  /** Where its code begins. */
  readonly start: number;
  work: number;
}

export interface FunctionWork {
  /** Of its locals' declaration and of what follows its code. */
  readonly start: number;
  readonly end: number;
  readonly localGroups: number;
  readonly groupsStart: number;
  /** Parameters included. */
  readonly locals: number;
  /** The function's own, then its loops' in the order they begin. */
  readonly regions: readonly Region[];
  counted: boolean;
}

interface Call {
  readonly region: Region;
  readonly callee: number;
}

interface Read {
  readonly work: FunctionWork;
  /** Direct ones, of functions that are not imported. */
  readonly calls: readonly Call[];
}

/** Of every function that is not imported, in order. */
export function boundWork(bytes: Uint8Array, shape: WasmShape): readonly FunctionWork[] {
  const span = shape.sections.find(({ id }) => id === CODE_SECTION);
  if (span === undefined) return [];
  const reader = new WasmReader(bytes, span.bodyStart, span.end);
  const reads: Read[] = [];
  for (let left = reader.u32("the number of function bodies"); left > 0; left -= 1) reads.push(readFunction(bytes, reader, shape, reads.length));
  choose(reads);
  for (const { work, calls } of reads) if (work.counted) for (const { region, callee } of calls) region.work += freeWork(reads[callee]);
  return reads.map(({ work }) => work);
}

function readFunction(bytes: Uint8Array, reader: WasmReader, shape: WasmShape, index: number): Read {
  const size = reader.u32("a function body's size");
  const start = reader.position;
  const body = reader.part(size, "a function body");
  const localGroups = body.u32("the number of local groups");
  const groupsStart = body.position;
  let locals = shape.functions[shape.importedFunctions + index]?.params.length ?? 0;
  for (let i = 0; i < localGroups; i += 1) {
    locals += body.u32("a number of locals");
    body.skip(1, "a value type");
  }
  const own: Region = { start: body.position, work: 0 };
  const regions = [own];
  const calls: Call[] = [];
  const open = [own];
  scanBody(body, newInstructionUse(), (opcode, at, end) => {
    let region = open.at(-1) ?? own;
    if (opcode === END) open.pop();
    else if (opcode === BLOCK || opcode === IF) open.push(region);
    else if (opcode === LOOP) {
      region = { start: end, work: 0 };
      regions.push(region);
      open.push(region);
    } else if (opcode === CALL) {
      const callee = new WasmReader(bytes, at + 1, end).u32("a function index") - shape.importedFunctions;
      if (callee < 0) region.work += SLOW_WORK;
      else calls.push({ region, callee });
    }
    region.work += workOf(bytes, opcode, at);
  });
  return { work: { start, end: reader.position, localGroups, groupsStart, locals, regions, counted: true }, calls };
}

function workOf(bytes: Uint8Array, opcode: number, at: number): number {
  if (opcode === CALL_INDIRECT) return 1 + FREE_WORK;
  const slow = opcode === MEMORY_GROW || (opcode === MISCELLANEOUS && (bytes[at + 1] ?? 0) >= FIRST_BULK);
  return slow ? SLOW_WORK : 1;
}

/** What calling it adds to its caller's work. */
function freeWork(read: Read | undefined): number {
  return read === undefined || read.work.counted ? 0 : (read.work.regions[0]?.work ?? 0);
}

interface Visit {
  readonly index: number;
  next: number;
}

/**
 * A search along direct calls, callees first. Functions with loops and big ones stay counted and are
 * not searched; neither is one that the search is still in the middle of, for it closes a cycle.
 */
function choose(reads: readonly Read[]): void {
  const seen = new Uint8Array(reads.length);
  const onCycle = new Uint8Array(reads.length);
  const path: Visit[] = [];
  const inPath = new Uint8Array(reads.length);
  const enter = (index: number): void => {
    const work = reads[index]?.work;
    if (work === undefined || seen[index] === 1) return;
    seen[index] = 1;
    if (work.regions.length > 1 || (work.regions[0]?.work ?? 0) > FREE_WORK) return;
    inPath[index] = 1;
    path.push({ index, next: 0 });
  };
  for (let root = 0; root < reads.length; root += 1) {
    enter(root);
    for (let visit = path.at(-1); visit !== undefined; visit = path.at(-1)) {
      const { index } = visit;
      const read = reads[index];
      const call = read?.calls[visit.next++];
      if (call !== undefined) {
        if (inPath[call.callee] === 1) onCycle[call.callee] = 1;
        else enter(call.callee);
        continue;
      }
      path.pop();
      inPath[index] = 0;
      if (read === undefined || onCycle[index] === 1) continue;
      const work = read.calls.reduce((sum, { callee }) => sum + freeWork(reads[callee]), read.work.regions[0]?.work ?? 0);
      if (work > FREE_WORK) continue;
      read.work.counted = false;
      for (const { region, callee } of read.calls) region.work += freeWork(reads[callee]);
    }
  }
}
