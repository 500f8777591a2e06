/** Small changes to a well-formed module's bytes, made before Binaryen reads them. */
import type { CustomSection, WasmShape } from "./wasm-shape.ts";
import { WasmReader } from "./wasm-reader.ts";

const MEMORY_SECTION = 5;
const NAME_SECTION = "name";
const NAME_SECTION_MAX_BYTES = 4 * 1024 * 1024;
const FUNCTION_NAMES = 1;

export function unsignedLeb(value: number): number[] {
  const bytes: number[] = [];
  let left = value;
  do {
    const low = left % 128;
    left = Math.floor(left / 128);
    bytes.push(left === 0 ? low : low | 0x80);
  } while (left > 0);
  return bytes;
}

export function section(id: number, body: Uint8Array): Uint8Array {
  return Buffer.concat([Uint8Array.of(id, ...unsignedLeb(body.length)), body]);
}

export function customSection(name: string, contents: Uint8Array): Uint8Array {
  const encoded = Buffer.from(name);
  return section(0, Buffer.concat([Uint8Array.from(unsignedLeb(encoded.length)), encoded, contents]));
}

/**
 * The module with its memory's maximum lowered to `maxPages` and without custom
 * sections, except function names that read well: a trap's place is told by them.
 * `reserved` are beginnings of names that preparation gives to functions of its own.
 */
export function clampAndStrip(bytes: Uint8Array, shape: WasmShape, maxPages: number, reserved: readonly string[]): Uint8Array {
  const parts: Uint8Array[] = [bytes.subarray(0, 8)];
  for (const span of shape.sections) {
    if (span.id === MEMORY_SECTION) parts.push(memorySection(shape, maxPages));
    else if (span.id !== 0) parts.push(bytes.subarray(span.start, span.end));
  }
  const names = shape.customs.find((custom) => custom.name === NAME_SECTION);
  const functionNames = names === undefined ? null : readFunctionNames(names, reserved);
  if (functionNames !== null) parts.push(customSection(NAME_SECTION, section(FUNCTION_NAMES, functionNames)));
  return Buffer.concat(parts);
}

function memorySection(shape: WasmShape, maxPages: number): Uint8Array {
  const [memory] = shape.memories;
  const initial = memory?.initial ?? 0;
  const maximum = Math.min(memory?.maximum ?? maxPages, maxPages);
  return section(MEMORY_SECTION, Uint8Array.from([1, 1, ...unsignedLeb(initial), ...unsignedLeb(maximum)]));
}

/** The function-name subsection's contents; null when there is none or it cannot be trusted. */
function readFunctionNames(names: CustomSection, reserved: readonly string[]): Uint8Array | null {
  if (names.bytes.length > NAME_SECTION_MAX_BYTES) return null;
  try {
    const reader = new WasmReader(names.bytes);
    while (!reader.done) {
      const id = reader.byte("a name subsection");
      const part = reader.part(reader.u32("a name subsection's size"), "a name subsection");
      if (id !== FUNCTION_NAMES) continue;
      const contents = part.rest();
      const count = part.count("function names", 2);
      for (let i = 0; i < count; i += 1) {
        part.u32("a function index");
        const name = part.name("a function's name");
        if (reserved.some((beginning) => name.startsWith(beginning))) return null;
      }
      return part.done ? contents : null;
    }
    return null;
  } catch {
    return null;
  }
}
