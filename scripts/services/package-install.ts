/** Gets a server's program onto the machine with the machine's own package manager, where that may be done. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { ServiceFault } from "./service.ts";

const APT = "/usr/bin/apt-get";

/** How to get a package, for people. */
export function installAdvice(debian: string, homebrew: string): string {
  return `on Debian and Ubuntu \`sudo apt-get install ${debian}\`, on macOS \`brew install ${homebrew}\``;
}

async function run(command: string, args: readonly string[]): Promise<void> {
  // What it says goes to standard error: standard output is for the answer of the command.
  const child = spawn(command, args, { stdio: ["ignore", 2, 2], env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" } });
  const [code] = (await once(child, "close")) as [number | null];
  if (code !== 0) throw new ServiceFault(`${command} ${args.join(" ")} failed with exit code ${String(code)}; what it said is above.`);
}

/** False when this machine or this user cannot: nothing was tried. */
export function mayInstall(): boolean {
  return process.getuid?.() === 0 && existsSync(APT);
}

export async function installPackage(name: string): Promise<void> {
  await run(APT, ["update", "-qq"]);
  await run(APT, ["install", "-y", "-qq", "--no-install-recommends", name]);
}
