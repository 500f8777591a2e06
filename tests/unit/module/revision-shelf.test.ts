import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ManualClock } from "../../../runtime/core/clock.ts";
import type { Admission } from "../../../runtime/module/admission.ts";
import { runPipeline } from "../../../runtime/module/admission-pipeline.ts";
import { digestOf, inspect } from "../../../runtime/module/inspect.ts";
import { prepare } from "../../../runtime/module/prepare.ts";
import { PREPARATION } from "../../../runtime/module/prepared.ts";
import { PreparedCache } from "../../../runtime/module/prepared-cache.ts";
import { RevisionArchive } from "../../../runtime/module/revision-archive.ts";
import { RevisionShelf } from "../../../runtime/module/revision-shelf.ts";
import { testPolicy } from "../../support/module-policy.ts";
import { waitingModule } from "../../support/wat.ts";

const EARLIER = "sirsi-0/by-hand";
const MIB = 1 << 20;
const BYTES = waitingModule({ requests: [] });
const DIGEST = digestOf(BYTES);

let directory = "";
let cache: PreparedCache;
let admissions = 0;
let shelf: RevisionShelf;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "sirsi-shelf-"));
  admissions = 0;
  const clock = new ManualClock();
  cache = new PreparedCache(join(directory, "cache"), MIB, clock);
  const admission: Pick<Admission, "admit"> = {
    admit(bytes, options) {
      admissions += 1;
      return runPipeline(bytes, options, { policy: testPolicy(), moduleMaxBytes: MIB, cache, clock, loadPreparer: () => Promise.resolve(prepare) });
    },
  };
  const archive = new RevisionArchive(join(directory, "revisions"));
  await archive.put(DIGEST, { bytes: BYTES, sidecar: null });
  shelf = new RevisionShelf(archive, admission as Admission);
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const keepEarlier = () => cache.write({ digest: DIGEST, preparation: EARLIER, memoryMaxBytes: 131_072 }, { ...prepare(BYTES, inspect(BYTES, null, MIB), 131_072), prepareTimeMs: 1 });

describe("a revision in the code of an earlier preparer", () => {
  it("is the present one when that is what is asked for", async () => {
    expect(await shelf.preparedBy(DIGEST, PREPARATION)).toBe(await shelf.load(DIGEST));
  });

  it("is given as long as it is kept, the same one to all, beside the present one", async () => {
    await keepEarlier();
    const [one, two] = await Promise.all([shelf.preparedBy(DIGEST, EARLIER), shelf.preparedBy(DIGEST, EARLIER)]);
    expect(one).toBe(two);
    expect(one).toMatchObject({ digest: DIGEST, preparation: EARLIER, canWait: true });
    expect(one?.globals).toEqual((await shelf.load(DIGEST)).globals);
    expect(shelf.loaded(DIGEST)?.preparation).toBe(PREPARATION);
    expect(admissions).toBe(2);
  });

  it("is none when it is not kept, and is looked for again by the next who asks", async () => {
    expect(await shelf.preparedBy(DIGEST, EARLIER)).toBeNull();
    await keepEarlier();
    expect(await shelf.preparedBy(DIGEST, EARLIER)).toMatchObject({ preparation: EARLIER });
  });

  it("is none once the revision was forgotten", async () => {
    await keepEarlier();
    await shelf.preparedBy(DIGEST, EARLIER);
    await shelf.forget(DIGEST);
    await expect(shelf.preparedBy(DIGEST, EARLIER)).rejects.toMatchObject({ code: "MODULE_NOT_FOUND" });
  });
});
