/** Runs one section, asked by its name, in this process. */
import process from "node:process";
import { SirsiError } from "../../runtime/core/errors.ts";
import { answerParent } from "./bench-child.ts";
import type { Figure } from "./figure.ts";
import type { Plan } from "./section.ts";
import { SECTIONS } from "./sections.ts";

export interface SectionAsk {
  readonly name: string;
  readonly plan: Plan;
}

answerParent(async ({ name, plan }: SectionAsk): Promise<readonly Figure[]> => {
  const section = SECTIONS.find((one) => one.name === name);
  if (section === undefined) throw new SirsiError("INVALID_ARGUMENT", `the benchmark has no section ${name}`);
  try {
    return await section.run(plan);
  } catch (thrown) {
    if (!(thrown instanceof SirsiError)) process.stderr.write(`${thrown instanceof Error ? thrown.stack : String(thrown)}\n`);
    throw thrown;
  }
});
