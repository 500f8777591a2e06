/** Reads a module file without compiling or running anything of it. */
import { createHash } from "node:crypto";
import { SirsiError } from "../core/errors.ts";
import { NO_SIDECAR, readManifest, readSidecar, type Sidecar } from "./manifest.ts";
import type { Manifest } from "./revision.ts";
import { readShape, type WasmShape } from "./wasm-shape.ts";

export interface Inspection {
  /** SHA-256 of the bytes, lower-case hex. */
  readonly digest: string;
  readonly sizeBytes: number;
  /** As the file states it; admission applies the sidecar. */
  readonly manifest: Manifest;
  readonly sidecar: Sidecar;
  readonly shape: WasmShape;
  /** Why a checkpoint cannot hold all of its state; empty when it can. */
  readonly uncapturable: string;
  /** "sirsi.log (func)", in the file's order. */
  readonly imports: readonly string[];
  readonly exports: readonly string[];
}

export function digestOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Throws only SirsiError: MODULE_REJECTED with the reason, MODULE_TOO_LARGE. */
export function inspect(bytes: Uint8Array, sidecarText: string | null, maxBytes: number): Inspection {
  requireSize(bytes.length, maxBytes);
  const shape = readShape(bytes);
  const manifest = readManifest(shape.customs);
  return {
    digest: digestOf(bytes),
    sizeBytes: bytes.length,
    manifest,
    sidecar: sidecarText === null ? NO_SIDECAR : readSidecar(sidecarText),
    shape,
    uncapturable: whyUncapturable(shape),
    imports: shape.imports.map((entry) => `${entry.module}.${entry.name} (${entry.kind})`),
    exports: shape.exports.map((entry) => `${entry.name} (${entry.kind})`),
  };
}

export function requireSize(sizeBytes: number, maxBytes: number): void {
  if (sizeBytes <= maxBytes) return;
  throw new SirsiError("MODULE_TOO_LARGE", `the file has ${sizeBytes} bytes and a module may have ${maxBytes}; make it smaller (asc -O3 --noAssert, no debug names) or raise modules.max_bytes`);
}

/** A checkpoint holds linear memory and the mutable globals of number type, nothing else. */
function whyUncapturable(shape: WasmShape): string {
  const { uses } = shape;
  const reasons: string[] = [];
  if (uses.tableSet || uses.tableGrow || uses.tableBulk) reasons.push("it changes a table while it runs");
  if (uses.elemDrop || (uses.tableBulk && shape.passiveSegments > 0)) reasons.push("it uses element segments while it runs");
  if (uses.dataDrop) reasons.push("it drops data segments while it runs");
  const odd = shape.globals.find((global) => global.mutable && !isNumber(global.type));
  if (odd !== undefined) reasons.push(`it has a mutable global of type ${odd.type}`);
  return reasons.join("; ");
}

function isNumber(type: string): boolean {
  return type === "i32" || type === "i64" || type === "f32" || type === "f64";
}
