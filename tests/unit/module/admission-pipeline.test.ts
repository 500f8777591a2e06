import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ManualClock } from "../../../runtime/core/clock.ts";
import { SirsiError } from "../../../runtime/core/errors.ts";
import { type PipelineTools, runPipeline } from "../../../runtime/module/admission-pipeline.ts";
import { digestOf, inspect } from "../../../runtime/module/inspect.ts";
import { prepare } from "../../../runtime/module/prepare.ts";
import { PreparedCache } from "../../../runtime/module/prepared-cache.ts";
import { testPolicy } from "../../support/module-policy.ts";
import { guestModule, truncatedModule } from "../../support/wat.ts";

let directory = "";
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "sirsi-pipeline-"));
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const PLAIN = { sidecar: null, ungranted: "pending" } as const;
const clock = new ManualClock();
const tools = (loadPreparer: PipelineTools["loadPreparer"]): PipelineTools => ({ policy: testPolicy(), moduleMaxBytes: 1 << 20, cache: new PreparedCache(directory, 1 << 20, clock), clock, loadPreparer });
const withPreparer = () => tools(() => Promise.resolve(prepare));
const without = () => tools(() => Promise.reject(new SirsiError("INTERNAL", "the preparer was loaded")));

describe("the pipeline", () => {
  it("prepares once and compiles from the cache after that", async () => {
    expect(await runPipeline(guestModule(), PLAIN, withPreparer())).toMatchObject({ kind: "admitted", fromCache: false, revision: { canWait: false } });
    expect(await runPipeline(guestModule(), PLAIN, without())).toMatchObject({ kind: "admitted", fromCache: true });
  });

  it("prepares anew for another memory limit", async () => {
    await runPipeline(guestModule(), PLAIN, withPreparer());
    const narrowed = { ...PLAIN, sidecar: "[limits]\nmemory_max_bytes = 131072" };
    expect(await runPipeline(guestModule(), narrowed, without())).toMatchObject({ kind: "rejected", error: { message: "the preparer was loaded" } });
    expect(await runPipeline(guestModule(), narrowed, withPreparer())).toMatchObject({ kind: "admitted", revision: { limits: { memoryMaxBytes: 131_072 } } });
  });

  it("takes what an earlier preparer made when it is asked to, and prepares nothing in its place", async () => {
    const earlier = { ...PLAIN, preparation: "sirsi-0/by-hand" };
    const bytes = guestModule();
    expect(await runPipeline(bytes, earlier, withPreparer())).toMatchObject({ kind: "rejected", error: { code: "MODULE_NOT_FOUND" } });
    const cache = new PreparedCache(directory, 1 << 20, clock);
    const made = prepare(bytes, inspect(bytes, null, 1 << 20), 1 << 20);
    await cache.write({ digest: digestOf(bytes), preparation: earlier.preparation, memoryMaxBytes: 1 << 20 }, { ...made, prepareTimeMs: 3 });
    expect(await runPipeline(bytes, earlier, without())).toMatchObject({ kind: "admitted", fromCache: true, revision: { preparation: earlier.preparation, prepareTimeMs: 3 } });
  });

  it("does not prepare what waits for approval or is refused", async () => {
    expect(await runPipeline(guestModule({ requests: ["sleep"] }), PLAIN, without())).toMatchObject({ kind: "pending", missing: ["sleep"] });
    expect(await runPipeline(truncatedModule(), PLAIN, without())).toMatchObject({ kind: "rejected", name: null, digest: expect.stringMatching(/^[0-9a-f]{64}$/) as string });
    expect(await runPipeline(guestModule({ limits: { mailboxDepth: 5_000 } }), PLAIN, without())).toMatchObject({ kind: "rejected", name: "sample", version: "1.0.0" });
  });

  it("refuses what V8 does not take, before the preparer sees it", async () => {
    const wasm = guestModule({}, { call: "(i64.const 0x1000000002)" });
    const at = Buffer.from(wasm).indexOf(Uint8Array.of(0x42, 0x82, 0x80, 0x80, 0x80));
    wasm.set([0x01, 0x01, 0x01, 0x01, 0x01, 0x01, 0x01], at);
    expect(await runPipeline(wasm, PLAIN, without())).toMatchObject({ kind: "rejected", error: { message: expect.stringContaining("does not compile as it was delivered") as string } });
  });
});
