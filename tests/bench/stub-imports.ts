/** Imports that let a module of ours be instantiated without a host. */
import { FUEL_SLICE, IMPORT_MODULE, PREPARED } from "../../runtime/contract/guest-abi.ts";

export function stubImports(module: WebAssembly.Module, given: WebAssembly.Imports = {}): WebAssembly.Imports {
  const imports: WebAssembly.Imports = {};
  for (const { module: from, name } of WebAssembly.Module.imports(module)) {
    const group = (imports[from] ??= {});
    const stub = from === PREPARED.importModule ? () => FUEL_SLICE : from === IMPORT_MODULE && (name === "now" || name === "request") ? () => 0n : () => 0;
    group[name] = given[from]?.[name] ?? stub;
  }
  return imports;
}
