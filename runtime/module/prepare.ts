/**
 * Makes an admitted module fit to run under limits and to be checkpointed:
 * memory clamped, metered, able to wait, its mutable globals in sight.
 *
 * Order: counting comes before asyncify, so that asyncify puts the counting into
 * the regions that it skips while it rewinds: a rewind costs no fuel, whatever
 * loop it goes back into, and all that runs in the normal state is counted.
 * memory.copy and memory.fill are charged by length, sixteen bytes a fuel:
 * one instruction may move the whole memory, and the clock is looked at only
 * between slices of fuel.
 *
 * Binaryen's options are global to its instance, so they are set and put back
 * around each preparation. After a failure the instance is not to be trusted:
 * the admission thread that owns it ends.
 */
import binaryen from "binaryen";
import { ABORT_IMPORT, GUEST_IMPORTS, IMPORT_MODULE, PREPARED } from "../contract/guest-abi.ts";
import { SirsiError } from "../core/errors.ts";
import { addCounting, TURNS_AT_ONCE } from "./counting.ts";
import type { Inspection } from "./inspect.ts";
import type { PreparedModule } from "./prepared.ts";
import type { InstructionUse } from "./wasm-instructions.ts";
import { clampAndStrip } from "./wasm-rewrite.ts";

const PAGE_BYTES = 65_536;
const PAGE_SHIFT = 16;
const FUEL = PREPARED.fuel;
const REFILL = "sirsi:refill";
const MEMORY_COPY = "__memory_copy";
const MEMORY_FILL = "__memory_fill";
const CHARGE = "sirsi:charge";
const REFUSED = "sirsi:refused";
/** What Binaryen's instrument-memory pass puts around memory.grow. */
const GROW_BEFORE = "memory_grow_pre";
const GROW_AFTER = "memory_grow_post";
/** It imports these, used or not, from ABORT_IMPORT's module. */
const INSTRUMENT_NAMES = [GROW_BEFORE, GROW_AFTER, "load_ptr", "load_val_", "store_ptr", "store_val_"];
/** log2 of the bytes that one fuel copies or fills: 16 bytes take about as long as a turn of a tight loop. */
const BULK_SHIFT = 4;
/** A run this short is paid by the loop turn or the call that it takes to repeat it. */
const FREE_BULK_BYTES = 1024;

/**
 * What metering and asyncify leave to be tidied. Compilers have optimised the rest already: Binaryen's whole
 * optimiser takes four times as long and writes 3 % less (relay: 3.0 s and 70 KB against 0.7 s and 72 KB).
 */
const TIDY = ["simplify-locals-nostructure", "coalesce-locals", "reorder-locals", "vacuum"];

const RESERVED_NAMES = ["sirsi:", MEMORY_COPY, MEMORY_FILL, "asyncify_", "__asyncify_", ...INSTRUMENT_NAMES];

const { Features } = binaryen;
/** What inspection lets through; a wider set would let the optimiser write what V8 may not read. */
const FEATURES = (
  Features.MutableGlobals | Features.NontrappingFPToInt | Features.SIMD128 | Features.BulkMemory | Features.BulkMemoryOpt |
  Features.SignExt | Features.ReferenceTypes | Features.Multivalue | Features.ExtendedConst | Features.CallIndirectOverlong
) as binaryen.Features;

const NUMBER_TYPES = new Map([
  [binaryen.i32, "i32"],
  [binaryen.i64, "i64"],
  [binaryen.f32, "f32"],
  [binaryen.f64, "f64"],
] as const);

/** Fails with MODULE_REJECTED when the module is not valid, or Binaryen cannot take it. */
export function prepare(bytes: Uint8Array, inspection: Inspection, memoryMaxBytes: number): PreparedModule {
  const { shape } = inspection;
  const canWait = shape.imports.some((entry) => entry.module === IMPORT_MODULE && entry.name === GUEST_IMPORTS.request);
  // What V8 takes has no index out of range, and so none that reaches what is added.
  if (!WebAssembly.validate(bytes)) throw new SirsiError("MODULE_REJECTED", "it is not valid WebAssembly; build it again with a current compiler", { metadata: { stage: "prepare" } });
  const input = addCounting(clampAndStrip(bytes, shape, Math.floor(memoryMaxBytes / PAGE_BYTES), RESERVED_NAMES));
  const module = attempt("read it", () => binaryen.readBinary(input));
  try {
    return withOptions(() => {
      module.setFeatures(FEATURES);
      const globals = exportGlobals(module, shape.globals.length);
      attempt("meter it", () => meter(module, shape.uses));
      if (canWait) attempt("make it able to wait", () => asyncify(module));
      attempt("tidy it", () => module.runPasses(TIDY));
      return { wasm: attempt("write it", () => module.emitBinary()), globals, canWait };
    });
  } finally {
    module.dispose();
  }
}

function attempt<T>(what: string, run: () => T): T {
  try {
    return run();
  } catch (thrown) {
    const reason = thrown instanceof Error ? thrown.message : JSON.stringify(thrown);
    throw new SirsiError("MODULE_REJECTED", `the preparer could not ${what} (${reason}); build it with fewer language features, or report the module`, {
      cause: thrown,
      metadata: { stage: "prepare" },
    });
  }
}

function withOptions<T>(run: () => T): T {
  const [optimizeLevel, shrinkLevel, debugInfo] = [binaryen.getOptimizeLevel(), binaryen.getShrinkLevel(), binaryen.getDebugInfo()];
  binaryen.setOptimizeLevel(1);
  binaryen.setShrinkLevel(0);
  binaryen.setDebugInfo(true);
  try {
    return run();
  } finally {
    binaryen.setOptimizeLevel(optimizeLevel);
    binaryen.setShrinkLevel(shrinkLevel);
    binaryen.setDebugInfo(debugInfo);
    binaryen.clearPassArguments();
  }
}

function meter(module: binaryen.Module, { bulkMemory, memoryGrow }: InstructionUse): void {
  const fuel = binaryen.getGlobalInfo(module.getGlobalByIndex(module.getNumGlobals() - 1)).name;
  module.addGlobalExport(fuel, FUEL);
  completeCounting(module, fuel);
  if (bulkMemory) {
    module.runPasses(["llvm-memory-copy-fill-lowering"]);
    // Lowering takes bulk memory out of the features, and the replacements below need it.
    module.setFeatures(FEATURES);
    addChargedBulkMemory(module, fuel);
  }
  if (memoryGrow) tellRefusedGrowth(module);
}

/** Counting has added two functions, the last ones, that do nothing yet. */
function completeCounting(module: binaryen.Module, fuel: string): void {
  const { i32, global } = module;
  const last = module.getNumFunctions() - 1;
  const [refill, payTurns] = [last - 1, last].map((index) => binaryen.getFunctionInfo(module.getFunctionByIndex(index)).name) as [string, string];
  module.addFunctionImport(REFILL, PREPARED.importModule, PREPARED.refill, binaryen.none, binaryen.i32);
  const left = () => global.get(fuel, binaryen.i32);
  const isSpent = () => i32.lt_s(left(), i32.const(0));
  const complete = (name: string, body: number) => {
    module.removeFunction(name);
    module.addFunction(name, binaryen.none, binaryen.none, [], body);
  };
  complete(refill, module.loop("more", module.block(null, [
    global.set(fuel, i32.add(left(), module.call(REFILL, [], binaryen.i32))),
    module.br("more", isSpent()),
  ])));
  complete(payTurns, module.block(null, [
    global.set(fuel, i32.sub(left(), i32.const(TURNS_AT_ONCE))),
    module.if(isSpent(), module.call(refill, [], binaryen.none)),
  ]));
}

/** Has the host told whenever memory.grow says no: what a guest does about it looks like any other trap. */
function tellRefusedGrowth(module: binaryen.Module): void {
  const { i32, local } = module;
  runWith(module, "instrument-memory", "memory.grow");
  for (let i = module.getNumFunctions() - 1; i >= 0; i -= 1) {
    const { name, module: from, base } = binaryen.getFunctionInfo(module.getFunctionByIndex(i));
    if (from === ABORT_IMPORT.module && base !== null && INSTRUMENT_NAMES.some((beginning) => base.startsWith(beginning))) module.removeFunction(name);
  }
  module.addFunctionImport(REFUSED, PREPARED.importModule, PREPARED.refused, binaryen.none, binaryen.none);
  const two = binaryen.createType([binaryen.i32, binaryen.i32]);
  const second = () => local.get(1, binaryen.i32);
  module.addFunction(GROW_BEFORE, two, binaryen.i32, [], second());
  module.addFunction(GROW_AFTER, two, binaryen.i32, [], module.block(null, [
    module.if(i32.eq(second(), i32.const(-1)), module.call(REFUSED, [], binaryen.none)),
    second(),
  ], binaryen.i32));
}

function runWith(module: binaryen.Module, pass: string, argument: string, argumentName = pass): void {
  binaryen.setPassArgument(argumentName, argument);
  try {
    module.runPasses([pass]);
  } finally {
    binaryen.clearPassArguments();
  }
}

function addChargedBulkMemory(module: binaryen.Module, fuelName: string): void {
  const { i32, local, global, memory } = module;
  const fuel = () => global.get(fuelName, binaryen.i32);
  const argument = (index: number) => local.get(index, binaryen.i32);
  const three = binaryen.createType([binaryen.i32, binaryen.i32, binaryen.i32]);
  // (bytes) -> (): slice by slice, so that a long run is charged whole. What exceeds the memory traps anyway, unpaid.
  module.addFunction(CHARGE, binaryen.createType([binaryen.i32]), binaryen.none, [], module.block(null, [
    module.block("paid", [
      module.br("paid", i32.gt_u(i32.shr_u(argument(0), i32.const(PAGE_SHIFT)), memory.size())),
      global.set(fuelName, i32.sub(fuel(), i32.shr_u(argument(0), i32.const(BULK_SHIFT)))),
      module.loop("more", module.block(null, [
        module.br("paid", i32.ge_s(fuel(), i32.const(0))),
        global.set(fuelName, i32.add(fuel(), module.call(REFILL, [], binaryen.i32))),
        module.br("more"),
      ])),
    ]),
  ]));
  const charged = (name: string, instruction: number) => {
    if (module.getFunction(name) !== 0) module.removeFunction(name);
    const long = i32.gt_u(argument(2), i32.const(FREE_BULK_BYTES));
    module.addFunction(name, three, binaryen.none, [], module.block(null, [module.if(long, module.call(CHARGE, [argument(2)], binaryen.none)), instruction]));
  };
  charged(MEMORY_COPY, memory.copy(argument(0), argument(1), argument(2)));
  charged(MEMORY_FILL, memory.fill(argument(0), argument(1), argument(2)));
}

function asyncify(module: binaryen.Module): void {
  runWith(module, "asyncify", `${IMPORT_MODULE}.${GUEST_IMPORTS.request}`, "asyncify-imports");
}

/**
 * Every mutable number of the module's own, in index order: it declares `own` globals, and
 * what counting and asyncify add comes after them. Those are no part of an agent's state.
 */
function exportGlobals(module: binaryen.Module, own: number): PreparedModule["globals"] {
  const globals: { name: string; type: "i32" | "i64" | "f32" | "f64" }[] = [];
  for (let i = 0; i < own; i += 1) {
    const info = binaryen.getGlobalInfo(module.getGlobalByIndex(i));
    const type = NUMBER_TYPES.get(info.type);
    if (!info.mutable || type === undefined) continue;
    const name = `${PREPARED.globalPrefix}${globals.length}`;
    module.addGlobalExport(info.name, name);
    globals.push({ name, type });
  }
  return globals;
}
