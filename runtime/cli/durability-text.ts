/** What a module's agents can count on, for `sirsi module inspect`. */
import type { GetModuleResponse } from "../client/index.ts";
import { type ManifestJson, manifestJson, manifestWord } from "./manifest-json.ts";
import { fields } from "./text.ts";

type Words = Readonly<Record<string, string>>;

const DURABILITY: Words = {
  wait: "each step is committed before it is seen, and each wait with its stack",
  message: "each step is committed before it is seen; a crash in a wait rolls the step back",
  interval: "replies come at once, and the state is committed a little later; a crash loses what lies between",
  none: "nothing is kept; agents begin afresh after a crash or a fault",
};

const RESTART: Words = {
  permanent: "after a fault it goes on from its last commit",
  transient: "after a fault it goes on from its last commit, but an abort of its own ends it",
  temporary: "a fault ends it",
};

const SUPERVISION: Words = {
  one_for_one: "a child that is restarted is restarted alone",
  rest_for_one: "with a child the children made after it are restarted",
};

/** Empty when the module has no active revision. */
export function durabilityText({ module, recoveryDifferences }: GetModuleResponse): string {
  const active = module?.active;
  if (active === undefined) return "";
  const manifest = manifestJson(active.manifestJson);
  return fields([
    ["durability", explained(manifest, "durability", DURABILITY)],
    ["recovery", recoveryDifferences === 0 ? "nothing to read: no state is kept" : recovery(manifest, recoveryDifferences)],
    ["checkpoint", active.uncapturable === "" ? "holds the whole state" : `cannot hold the state: ${active.uncapturable}`],
    ["restart", explained(manifest, "restart", RESTART)],
    ["supervision", explained(manifest, "supervision", SUPERVISION)],
  ]);
}

function explained(manifest: ManifestJson, name: string, meanings: Words): string {
  const word = manifestWord(manifest, name);
  const meaning = Object.hasOwn(meanings, word) ? meanings[word] : undefined;
  return meaning === undefined ? word : `${word}: ${meaning}`;
}

function recovery(manifest: ManifestJson, differences: number): string {
  const wait = manifestWord(manifest, "durability") === "wait" ? ", and a wait" : "";
  return `reads one base and at most ${differences} ${differences === 1 ? "difference" : "differences"}${wait}`;
}
