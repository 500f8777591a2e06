export { openMemoryContext } from "./memory-context.ts";
export type { MemoryContextOptions } from "./memory-context.ts";
