/** How the demos speak. */
import { stdout } from "node:process";
import { styleText } from "node:util";
import { SirsiError } from "../../runtime/core/errors.ts";

export function tell(text: string): void {
  stdout.write(`${text}\n`);
}

export function heading(number: number, text: string): void {
  tell(`\n${styleText("bold", `${number}. ${text}`)}`);
}

/** A check that the demo stands or falls with. */
export function check(holds: boolean, said: string, otherwise: string): void {
  if (!holds) throw new SirsiError("INTERNAL", otherwise);
  tell(`   ${styleText("green", "✓")} ${said}`);
}

export function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}
