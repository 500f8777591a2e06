/** How a take or a look is told to the operator who asked for it: as an outcome, or as an error. */
import { SirsiError } from "../core/errors.ts";
import type { AdmissionOutcome } from "./admission-pipeline.ts";
import type { InstallOutcome, SuccessfulTake, TakeOutcome } from "./registry-types.ts";

/** What admission says of bytes that were only looked at. */
export function looked(module: string, outcome: AdmissionOutcome): InstallOutcome {
  if (outcome.kind === "rejected") throw SirsiError.revive(outcome.error);
  return outcome.kind === "admitted" ? { kind: "valid", module, revision: outcome.revision } : { ...outcome, module };
}

export function successful(taken: TakeOutcome): SuccessfulTake {
  if (taken.kind === "rejected") throw SirsiError.revive(taken.error);
  if (taken.kind === "gone") throw new SirsiError("MODULE_NOT_FOUND", `the file of module ${taken.module} vanished while it was taken; install it again`);
  return taken;
}

export function fileIsGone(name: string): SirsiError {
  return new SirsiError("MODULE_RETIRED", `the file of module ${name} is gone; install the module again`, { metadata: { module: name } });
}
