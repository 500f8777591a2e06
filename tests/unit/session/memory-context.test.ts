import { ManualClock } from "../../../runtime/core/clock.ts";
import { openMemoryContext } from "../../../runtime/session/context/memory/index.ts";
import { contextContract } from "../../support/context-contract.ts";

contextContract("the context of one process", (limits) => {
  const clock = new ManualClock();
  const context = openMemoryContext({ ...limits, clock, hostName: "here" });
  return Promise.resolve({ context, pass: (ms) => clock.advance(ms), dispose: () => context.close() });
});
