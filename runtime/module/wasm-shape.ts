/** What the host needs to know of a core module, read from its sections without running or compiling it. */
import { SirsiError } from "../core/errors.ts";
import { scanBody, type InstructionUse, newInstructionUse } from "./wasm-instructions.ts";
import { WasmReader } from "./wasm-reader.ts";

export type ValueType = "i32" | "i64" | "f32" | "f64" | "v128" | "funcref" | "externref";
export type ExternalKind = "func" | "table" | "memory" | "global";

export interface FunctionType {
  readonly params: readonly ValueType[];
  readonly results: readonly ValueType[];
}
export interface Limits {
  readonly initial: number;
  readonly maximum: number | null;
  readonly shared: boolean;
  readonly is64: boolean;
}
export interface GlobalType {
  readonly type: ValueType;
  readonly mutable: boolean;
}
export interface WasmImport {
  readonly module: string;
  readonly name: string;
  readonly kind: ExternalKind;
  /** Of a function; null for anything else. */
  readonly type: FunctionType | null;
}
export interface WasmExport {
  readonly name: string;
  readonly kind: ExternalKind;
  readonly index: number;
}
export interface CustomSection {
  readonly name: string;
  readonly bytes: Uint8Array;
}
export interface SectionSpan {
  readonly id: number;
  /** Of the section's first byte, its id. */
  readonly start: number;
  /** Of its contents. */
  readonly bodyStart: number;
  readonly end: number;
}

export interface WasmShape {
  readonly types: readonly FunctionType[];
  readonly imports: readonly WasmImport[];
  /** Type of every function, imported ones first. */
  readonly functions: readonly FunctionType[];
  readonly tables: readonly Limits[];
  readonly memories: readonly Limits[];
  /** Own ones only: admission takes no imported global. */
  readonly globals: readonly GlobalType[];
  readonly exports: readonly WasmExport[];
  readonly start: number | null;
  readonly customs: readonly CustomSection[];
  readonly sections: readonly SectionSpan[];
  readonly importedFunctions: number;
  /** Of data and of elements; declarative ones, which hold nothing, not counted. */
  readonly passiveSegments: number;
  readonly passiveDataMaxBytes: number;
  readonly uses: InstructionUse;
}

/** Mutable while the sections are read; handed out as a WasmShape. */
interface Draft {
  types: FunctionType[];
  imports: WasmImport[];
  functions: FunctionType[];
  tables: Limits[];
  memories: Limits[];
  globals: GlobalType[];
  exports: WasmExport[];
  start: number | null;
  customs: CustomSection[];
  sections: SectionSpan[];
  declaredFunctions: number;
  importedFunctions: number;
  bodies: number;
  passiveSegments: number;
  passiveDataMaxBytes: number;
  uses: InstructionUse;
}

const VALUE_TYPES = new Map<number, ValueType>([
  [0x7f, "i32"],
  [0x7e, "i64"],
  [0x7d, "f32"],
  [0x7c, "f64"],
  [0x7b, "v128"],
  [0x70, "funcref"],
  [0x6f, "externref"],
]);
const KINDS: readonly ExternalKind[] = ["func", "table", "memory", "global"];

/** The order the specification asks of sections; custom ones (0) go anywhere. */
const SECTION_ORDER = [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 10, 11];
/** More than V8 takes of anything countable. */
const COUNT_MAX = 1_000_000;

export function readShape(bytes: Uint8Array): WasmShape {
  const reader = new WasmReader(bytes);
  requireCoreModule(reader);
  const draft: Draft = {
    types: [], imports: [], functions: [], tables: [], memories: [], globals: [], exports: [], start: null, customs: [],
    sections: [], declaredFunctions: 0, importedFunctions: 0, bodies: 0, passiveSegments: 0, passiveDataMaxBytes: 0, uses: newInstructionUse(),
  };
  let last = -1;
  while (!reader.done) {
    const start = reader.position;
    const id = reader.byte("a section's id");
    const length = reader.u32("a section's size");
    const bodyStart = reader.position;
    const body = reader.part(length, `section ${id}`);
    draft.sections.push({ id, start, bodyStart, end: reader.position });
    if (id !== 0) {
      const place = SECTION_ORDER.indexOf(id);
      if (id === 13) refuse("it declares exceptions", "build it without exception handling");
      if (place < 0) reader.fail(`section ${id} is unknown`);
      if (place <= last) reader.fail(`section ${id} comes twice or out of order`);
      last = place;
    }
    readSection(draft, id, body);
    if (id !== 0 && !body.done) body.fail(`section ${id} has ${body.left} bytes too many`);
  }
  if (draft.bodies !== draft.declaredFunctions) reader.fail(`it declares ${draft.declaredFunctions} functions and has ${draft.bodies}`);
  return draft;
}

export function refuse(what: string, next: string): never {
  throw new SirsiError("MODULE_REJECTED", `${what}, which this host does not take; ${next}`);
}

function requireCoreModule(reader: WasmReader): void {
  const preamble = Array.from({ length: 8 }, () => reader.byte("the preamble"));
  const magic = preamble.slice(0, 4).join();
  if (magic !== "0,97,115,109") throw new SirsiError("MODULE_REJECTED", "the file does not start as WebAssembly does (00 61 73 6d); install the .wasm file that the compiler wrote");
  const version = preamble.slice(4).join();
  if (version === "13,0,1,0") throw new SirsiError("MODULE_REJECTED", "the file is a WebAssembly component, and components are not yet taken; build a core module");
  if (version !== "1,0,0,0") throw new SirsiError("MODULE_REJECTED", `the file is not WebAssembly version 1 (its version bytes are ${version}); build a core module`);
}

function readSection(draft: Draft, id: number, body: WasmReader): void {
  switch (id) {
    case 0:
      draft.customs.push({ name: body.name("a custom section's name"), bytes: body.rest() });
      return;
    case 1:
      return each(body, "types", 3, () => draft.types.push(readFunctionType(body)));
    case 2:
      return each(body, "imports", 4, () => draft.imports.push(readImport(draft, body)));
    case 3:
      return each(body, "functions", 1, () => {
        draft.declaredFunctions += 1;
        draft.functions.push(typeAt(draft, body));
      });
    case 4:
      return each(body, "tables", 3, () => draft.tables.push(readTable(body)));
    case 5:
      return each(body, "memories", 2, () => draft.memories.push(readLimits(body)));
    case 6:
      return each(body, "globals", 3, () => {
        draft.globals.push(readGlobalType(body));
        scanBody(body, draft.uses);
      });
    case 7:
      return each(body, "exports", 3, () => draft.exports.push(readExport(body)));
    case 8:
      draft.start = body.u32("the start function");
      return;
    case 9:
      return each(body, "element segments", 2, () => readElementSegment(draft, body));
    case 10:
      return each(body, "function bodies", 3, () => readFunctionBody(draft, body));
    case 11:
      return each(body, "data segments", 2, () => readDataSegment(draft, body));
    case 12:
      body.u32("the data count");
      return;
    default:
      body.fail(`section ${id} is unknown`);
  }
}

function each(body: WasmReader, what: string, leastBytes: number, read: () => unknown): void {
  const count = body.count(what, leastBytes);
  if (count > COUNT_MAX) body.fail(`it has ${count} ${what} and may have ${COUNT_MAX}`);
  for (let i = 0; i < count; i += 1) read();
}

function valueType(body: WasmReader): ValueType {
  const byte = body.byte("a value type");
  const type = VALUE_TYPES.get(byte);
  if (type === undefined) refuse(`it uses value type 0x${byte.toString(16)} at byte ${body.position - 1} (garbage-collected or typed references)`, "build it for linear memory only");
  return type;
}

function readFunctionType(body: WasmReader): FunctionType {
  const form = body.byte("a type");
  if (form !== 0x60) refuse(`it declares a type of form 0x${form.toString(16)} (garbage-collected types)`, "build it for linear memory only");
  const params: ValueType[] = [];
  const results: ValueType[] = [];
  each(body, "parameters", 1, () => params.push(valueType(body)));
  each(body, "results", 1, () => results.push(valueType(body)));
  return { params, results };
}

function typeAt(draft: Draft, body: WasmReader): FunctionType {
  const index = body.u32("a type index");
  const type = draft.types[index];
  if (type === undefined) body.fail(`type ${index} does not exist`);
  return type;
}

function readImport(draft: Draft, body: WasmReader): WasmImport {
  const module = body.name("an import's module");
  const name = body.name("an import's name");
  const kind = KINDS[body.byte("an import's kind")];
  if (kind === undefined) refuse(`import ${module}.${name} is of an unknown kind (a tag, perhaps)`, "build it without exception handling");
  if (kind === "func") {
    const type = typeAt(draft, body);
    draft.functions.push(type);
    draft.importedFunctions += 1;
    return { module, name, kind, type };
  }
  if (kind === "table") readTable(body);
  else if (kind === "memory") readLimits(body);
  else readGlobalType(body);
  return { module, name, kind, type: null };
}

/** 1 has a maximum, 2 is shared, 4 is 64-bit. */
function readLimits(body: WasmReader): Limits {
  const flags = body.byte("limits");
  if (flags > 7) refuse(`it has limits of form 0x${flags.toString(16)}`, "build it for a plain 32-bit memory");
  const is64 = (flags & 4) !== 0;
  if (is64) refuse("it uses 64-bit addresses", "build it for wasm32");
  const initial = body.u32("limits");
  const maximum = (flags & 1) === 0 ? null : body.u32("limits");
  return { initial, maximum, shared: (flags & 2) !== 0, is64 };
}

function readTable(body: WasmReader): Limits {
  valueType(body);
  return readLimits(body);
}

function readGlobalType(body: WasmReader): GlobalType {
  const type = valueType(body);
  const mutability = body.byte("a global's mutability");
  if (mutability > 1) refuse("it has a shared global", "build it without threads");
  return { type, mutable: mutability === 1 };
}

function readExport(body: WasmReader): WasmExport {
  const name = body.name("an export's name");
  const kind = KINDS[body.byte("an export's kind")];
  if (kind === undefined) refuse(`export ${name} is of an unknown kind (a tag, perhaps)`, "build it without exception handling");
  return { name, kind, index: body.u32("an export's index") };
}

/** Bit 0: passive or declarative; bit 1: an explicit table, or declarative; bit 2: expressions. */
function readElementSegment(draft: Draft, body: WasmReader): void {
  const flags = body.u32("an element segment's form");
  if (flags > 7) body.fail(`element segment form ${flags} is unknown`);
  const active = (flags & 1) === 0;
  if ((flags & 3) === 1) draft.passiveSegments += 1;
  if (active && (flags & 2) !== 0) body.u32("a table index");
  if (active) scanBody(body, draft.uses);
  const expressions = (flags & 4) !== 0;
  if ((flags & 3) !== 0) {
    if (expressions) valueType(body);
    else body.byte("an element kind");
  }
  each(body, "elements", 1, () => (expressions ? scanBody(body, draft.uses) : body.u32("a function index")));
}

function readDataSegment(draft: Draft, body: WasmReader): void {
  const flags = body.u32("a data segment's form");
  if (flags > 2) body.fail(`data segment form ${flags} is unknown`);
  if (flags === 2) body.u32("a memory index");
  if (flags !== 1) scanBody(body, draft.uses);
  const size = body.u32("a data segment's size");
  body.skip(size, "a data segment");
  if (flags !== 1) return;
  draft.passiveSegments += 1;
  draft.passiveDataMaxBytes = Math.max(draft.passiveDataMaxBytes, size);
}

function readFunctionBody(draft: Draft, body: WasmReader): void {
  const code = body.part(body.u32("a function body's size"), "a function body");
  draft.bodies += 1;
  each(code, "local groups", 2, () => {
    code.u32("a number of locals");
    valueType(code);
  });
  scanBody(code, draft.uses);
  if (!code.done) code.fail("a function body has bytes after its end");
}
