/**
 * Steps through an expression to learn which instructions it uses: those that move
 * state out of a checkpoint's sight, and those that this host does not take because
 * metering or suspension would not see them.
 */
import { SirsiError } from "../core/errors.ts";
import type { WasmReader } from "./wasm-reader.ts";

export interface InstructionUse {
  /** memory.copy or memory.fill. */
  bulkMemory: boolean;
  memoryInit: boolean;
  memoryGrow: boolean;
  dataDrop: boolean;
  tableSet: boolean;
  tableGrow: boolean;
  /** table.fill, table.copy or table.init. */
  tableBulk: boolean;
  elemDrop: boolean;
}

export function newInstructionUse(): InstructionUse {
  return { bulkMemory: false, memoryInit: false, memoryGrow: false, dataDrop: false, tableSet: false, tableGrow: false, tableBulk: false, elemDrop: false };
}

const END = 0x0b;

function refuseInstruction(reader: WasmReader, family: string, next: string): never {
  throw new SirsiError("MODULE_REJECTED", `it uses ${family} (before byte ${reader.position}), which this host does not take; ${next}`);
}

/** Told of every instruction, the last `end` included: its first byte, and the places of that and of what follows it. */
export type InstructionWatch = (opcode: number, start: number, end: number) => void;

/** From after the locals to the `end` that closes the expression. */
export function scanBody(reader: WasmReader, use: InstructionUse, watch?: InstructionWatch): void {
  let depth = 1;
  while (depth > 0) {
    const start = reader.position;
    const opcode = reader.byte("an expression");
    if (opcode === END) depth -= 1;
    else if (opcode >= 0x02 && opcode <= 0x04) {
      depth += 1;
      blockType(reader);
    } else instruction(reader, opcode, use);
    watch?.(opcode, start, reader.position);
  }
}

function blockType(reader: WasmReader): void {
  reader.skipLeb(33, "a block type");
}

function instruction(reader: WasmReader, opcode: number, use: InstructionUse): void {
  if (opcode >= 0x45 && opcode <= 0xc4) return;
  if (opcode >= 0x28 && opcode <= 0x3e) return memoryArgument(reader);
  switch (opcode) {
    case 0x00: case 0x01: case 0x05: case 0x0f: case 0x1a: case 0x1b: case 0xd1:
      return;
    case 0x0c: case 0x0d: case 0x10: case 0x20: case 0x21: case 0x22: case 0x23: case 0x24: case 0x25: case 0xd2:
      return reader.skipLeb(32, "an index");
    case 0x26:
      use.tableSet = true;
      return reader.skipLeb(32, "a table index");
    case 0x0e: {
      const targets = reader.count("branch targets");
      for (let i = 0; i <= targets; i += 1) reader.skipLeb(32, "a branch target");
      return;
    }
    case 0x11:
      reader.skipLeb(32, "a type index");
      return reader.skipLeb(32, "a table index");
    case 0x1c: {
      const types = reader.count("types of a select");
      return reader.skip(types, "the types of a select");
    }
    case 0x3f:
      return memoryIndex(reader);
    case 0x40:
      use.memoryGrow = true;
      return memoryIndex(reader);
    case 0x41:
      return reader.skipLeb(32, "a constant");
    case 0x42:
      return reader.skipLeb(64, "a constant");
    case 0x43:
      return reader.skip(4, "a constant");
    case 0x44:
      return reader.skip(8, "a constant");
    case 0xd0:
      return heapType(reader);
    case 0xfc:
      return miscellaneous(reader, use);
    case 0xfd:
      return vector(reader);
    default:
      return refuseOpcode(reader, opcode);
  }
}

function refuseOpcode(reader: WasmReader, opcode: number): never {
  if (opcode === 0x12 || opcode === 0x13) refuseInstruction(reader, "tail calls", "build it without the tail-call feature");
  if (opcode === 0xfe) refuseInstruction(reader, "atomic instructions", "build it without threads");
  if (opcode === 0xfb || (opcode >= 0x14 && opcode <= 0x17) || (opcode >= 0xd3 && opcode <= 0xd6)) refuseInstruction(reader, "garbage-collected or typed references", "build it for linear memory only");
  if ((opcode >= 0x06 && opcode <= 0x0a) || opcode === 0x18 || opcode === 0x19 || opcode === 0x1f) refuseInstruction(reader, "exceptions", "build it without exception handling");
  refuseInstruction(reader, `instruction 0x${opcode.toString(16)}`, "build it for the WebAssembly 2.0 instruction set");
}

/** Bit 6 of the alignment says that a memory index follows, which only a second memory needs. */
function memoryArgument(reader: WasmReader): void {
  if (reader.u32("an alignment") >= 64) refuseInstruction(reader, "more than one memory", "build it for one memory");
  reader.skipLeb(32, "an offset");
}

function memoryIndex(reader: WasmReader): void {
  if (reader.u32("a memory index") !== 0) refuseInstruction(reader, "more than one memory", "build it for one memory");
}

function heapType(reader: WasmReader): void {
  const type = reader.byte("a heap type");
  if (type !== 0x70 && type !== 0x6f) refuseInstruction(reader, "garbage-collected or typed references", "build it for linear memory only");
}

function miscellaneous(reader: WasmReader, use: InstructionUse): void {
  const opcode = reader.u32("an instruction");
  const index = (what: string) => reader.skipLeb(32, what);
  switch (opcode) {
    case 0: case 1: case 2: case 3: case 4: case 5: case 6: case 7:
      return;
    case 8:
      use.memoryInit = true;
      index("a data segment");
      return memoryIndex(reader);
    case 9:
      use.dataDrop = true;
      return index("a data segment");
    case 10:
      use.bulkMemory = true;
      memoryIndex(reader);
      return memoryIndex(reader);
    case 11:
      use.bulkMemory = true;
      return memoryIndex(reader);
    case 12: case 14:
      use.tableBulk = true;
      index("a segment or table");
      return index("a table");
    case 13:
      use.elemDrop = true;
      return index("an element segment");
    case 15:
      use.tableGrow = true;
      return index("a table");
    case 16:
      return index("a table");
    case 17:
      use.tableBulk = true;
      return index("a table");
    default:
      refuseInstruction(reader, `instruction 0xfc ${opcode}`, "build it for the WebAssembly 2.0 instruction set");
  }
}

function vector(reader: WasmReader): void {
  const opcode = reader.u32("a vector instruction");
  if (opcode <= 11 || opcode === 92 || opcode === 93) return memoryArgument(reader);
  if (opcode === 12 || opcode === 13) return reader.skip(16, "a vector constant");
  if (opcode >= 21 && opcode <= 34) return reader.skip(1, "a lane");
  if (opcode >= 84 && opcode <= 91) {
    memoryArgument(reader);
    return reader.skip(1, "a lane");
  }
  if (opcode > 255) refuseInstruction(reader, "relaxed vector instructions, whose results differ between machines", "build it without relaxed-simd");
}
