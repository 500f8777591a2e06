/** From a file's bytes to a revision that agents can be made of. */
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "../../runtime/core/clock.ts";
import { openAdmission, type Admission } from "../../runtime/module/index.ts";
import { builtAgent } from "../support/built-agents.ts";
import { testPolicy } from "../support/module-policy.ts";
import { withSection } from "../support/wat.ts";

import type { Figure } from "./figure.ts";
import { inTurns, ratioOf, readingOf } from "./rounds.ts";
import { type Plan, requireRight, type Section } from "./section.ts";

let folders = 0;
let compiled = 0;

function open(cacheDir: string): Admission {
  return openAdmission({ policy: testPolicy(), cacheDir, cacheMaxBytes: 64 * 1024 * 1024, moduleMaxBytes: 32 * 1024 * 1024, admitTimeoutMs: 60_000, clock: systemClock });
}

/** Milliseconds to admit `bytes`; `fromCache` says what it must have been. */
async function admit(admission: Admission, bytes: Uint8Array, fromCache: boolean): Promise<number> {
  const started = systemClock.monotonic();
  const outcome = await admission.admit(bytes, { sidecar: null, ungranted: "pending" });
  const took = systemClock.monotonic() - started;
  requireRight(outcome.kind === "admitted" && outcome.fromCache === fromCache, () => `a good module was ${outcome.kind}, from the cache or not`);
  return took;
}

async function measure(plan: Plan): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const name of plan.quick ? ["echo"] : ["echo", "aws"]) {
    const bytes = readFileSync((await builtAgent(name)).file);
    const kept = join(plan.folder, `kept-${name}`);
    mkdirSync(kept);
    const lasting = open(kept);
    await admit(lasting, bytes, false);
    const once = {
      compile: () => {
        // V8 remembers what it compiled by its bytes, so each time they differ.
        const unseen = withSection(bytes, "unseen", Buffer.from(String(++compiled)));
        const started = systemClock.monotonic();
        void new WebAssembly.Module(unseen);
        return systemClock.monotonic() - started;
      },
      cold: async () => {
        const cacheDir = join(plan.folder, `cold-${++folders}`);
        mkdirSync(cacheDir);
        const admission = open(cacheDir);
        const took = await admit(admission, bytes, false);
        await admission.close();
        return took;
      },
      restart: async () => {
        const admission = open(kept);
        const took = await admit(admission, bytes, true);
        await admission.close();
        return took;
      },
      warm: () => admit(lasting, bytes, true),
    };
    const taken = await inTurns(plan.quick ? 2 : 5, once);
    await lasting.close();
    const figure = (what: string, of: "cold" | "restart" | "warm"): Figure => ({
      what: `${name} (${Math.round(bytes.length / 1000)} KB): ${what}`,
      ours: readingOf(taken[of], "ms"),
      bare: { what: "V8 compiles it as it was built", reading: readingOf(taken.compile, "ms") },
      compared: ratioOf(taken[of], taken.compile),
      target: null,
    });
    figures.push(figure("the first module of a new host: thread, Binaryen, preparation", "cold"), figure("known from before, after a restart", "restart"), figure("known from before, on a running host", "warm"));
  }
  return figures;
}

export const admissionSection: Section = {
  name: "admission",
  title: "A module's admission",
  notMeasured: ["the watching of the directory", "the optimising compiler, which V8 runs later and on demand"],
  run: measure,
};
