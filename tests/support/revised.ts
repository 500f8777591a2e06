/** A module's bytes under another manifest: another revision of the same code. */
import { MANIFEST_SECTION } from "../../runtime/contract/guest-abi.ts";
import { readShape } from "../../runtime/module/wasm-shape.ts";
import { type ManifestFields, withManifest } from "./wat.ts";

/** `changes` go over the manifest that is there. */
export function revised(wasm: Uint8Array, changes: ManifestFields): Uint8Array {
  const shape = readShape(wasm);
  const manifest = shape.customs.find(({ name }) => name === MANIFEST_SECTION);
  const before = manifest === undefined ? {} : (JSON.parse(Buffer.from(manifest.bytes).toString()) as ManifestFields);
  const kept = shape.sections.filter((span) => span.id !== 0).map((span) => wasm.subarray(span.start, span.end));
  return withManifest(new Uint8Array(Buffer.concat([wasm.subarray(0, 8), ...kept])), { ...before, ...changes });
}
