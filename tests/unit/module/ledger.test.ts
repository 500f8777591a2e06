import { expect, it } from "vitest";
import type { ModuleLedger } from "../../../runtime/module/index.ts";
import type { Store } from "../../../runtime/store/store.ts";

it("a store is a module ledger (held by the type checker)", () => {
  const asLedger = (store: Store): ModuleLedger => store;
  const store = {} as Store;
  expect(asLedger(store)).toBe(store);
});
