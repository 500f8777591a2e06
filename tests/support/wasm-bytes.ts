/** Small surgery on WebAssembly bytes, for tests. */
import { MANIFEST_SECTION } from "../../runtime/contract/guest-abi.ts";
import { withManifest } from "./wat.ts";

function readLeb(bytes: Uint8Array, at: number): readonly [value: number, next: number] {
  let value = 0;
  for (let shift = 0, i = at; ; shift += 7, i++) {
    const byte = bytes[i] ?? 0;
    value += (byte & 0x7f) * 2 ** shift;
    if (byte < 0x80) return [value, i + 1];
  }
}

function leb(value: number): readonly number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...leb(Math.floor(value / 0x80))];
}

interface Section {
  readonly id: number;
  readonly start: number;
  readonly body: number;
  readonly end: number;
}

function* sections(bytes: Uint8Array): Generator<Section> {
  for (let start = 8; start < bytes.length; ) {
    const [size, body] = readLeb(bytes, start + 1);
    yield { id: bytes[start] ?? 0, start, body, end: body + size };
    start = body + size;
  }
}

/** The same module with its one memory bounded to that many pages of 64 KiB. */
export function withMemoryMaximum(bytes: Uint8Array, pages: number): Uint8Array<ArrayBuffer> {
  const memory = [...sections(bytes)].find((section) => section.id === 5);
  if (memory === undefined) return Uint8Array.from(bytes);
  const [initial] = readLeb(bytes, memory.body + 2);
  const body = [1, 1, ...leb(initial), ...leb(pages)];
  return Uint8Array.from([...bytes.subarray(0, memory.start), 5, ...leb(body.length), ...body, ...bytes.subarray(memory.end)]);
}

/** The same code under another manifest: a further revision of the module. */
export function withManifestFields(bytes: Uint8Array, fields: Readonly<Record<string, unknown>>): Uint8Array {
  const nameOf = ({ body }: Section) => {
    const [length, start] = readLeb(bytes, body);
    return { name: Buffer.from(bytes.subarray(start, start + length)).toString(), contents: start + length };
  };
  const manifest = [...sections(bytes)].find((section) => section.id === 0 && nameOf(section).name === MANIFEST_SECTION);
  if (manifest === undefined) throw new TypeError("the module has no manifest");
  const old = JSON.parse(Buffer.from(bytes.subarray(nameOf(manifest).contents, manifest.end)).toString()) as object;
  const rest = Buffer.concat([bytes.subarray(0, manifest.start), bytes.subarray(manifest.end)]);
  return withManifest(rest, { ...old, ...fields });
}
