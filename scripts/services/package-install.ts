/**
 * Gets a server's program onto the machine with the machine's own package manager, where
 * that may be done: as root, on Debian and what is made of it.
 *
 * Who installs waits for whoever does so at the time, in whatever process. What packages
 * would start as a service of the system on their own is neither started nor left to start
 * with the machine: programs are wanted here, not servers on well-known ports.
 */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants, existsSync } from "node:fs";
import { rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { ServiceFault } from "./service.ts";

const APT = "/usr/bin/apt-get";
const LOCK = join(tmpdir(), "sirsi-install.lock");
const LOCK_SECONDS = 900;
/** Asked by every package that is about to start a service; 101 is "no". */
const POLICY = "/usr/sbin/policy-rc.d";
const COMPOSE = "scripts/services/docker-compose.yml";
/** Where packages put servers, besides what PATH names. */
const USUAL_PLACES = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/opt/homebrew/bin"];

export interface PackageOptions {
  /** As people call it. */
  readonly title: string;
  readonly debian: string;
  readonly homebrew: string;
  /** The service that Debian's package sets up; null for none. */
  readonly systemService: string | null;
  /** Where it is; null when it is not. */
  readonly find: () => Promise<string | null>;
  /** Put around the installation. */
  readonly during?: (install: () => Promise<void>) => Promise<void>;
}

export function findProgram(name: string): string | null {
  const places = [...(process.env["PATH"] ?? "").split(delimiter), ...USUAL_PLACES];
  return places.map((place) => join(place, name)).find(isExecutable) ?? null;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Where the program is; installs it when it is missing and that may be done, or rejects with how to get it. */
export async function ensurePackage(options: PackageOptions): Promise<string> {
  const { title, debian, homebrew, find } = options;
  const found = await find();
  if (found !== null) return found;
  const advice =
    `${title} is not on this machine. Install it: on Debian and Ubuntu \`sudo apt-get install ${debian}\`, on macOS \`brew install ${homebrew}\`. ` +
    `To develop against servers in containers, without any test of this project: \`docker compose -f ${COMPOSE} up\`.`;
  if (process.getuid?.() !== 0 || !existsSync(APT)) throw new ServiceFault(advice);
  const installed = await alone(async () => (await find()) ?? (await installPackage(options), await find()));
  if (installed === null) throw new ServiceFault(`${advice} (The package ${debian} was installed, and the program is not where it was looked for.)`);
  return installed;
}

async function installPackage({ debian, systemService, during = (install) => install() }: PackageOptions): Promise<void> {
  // A policy that is there already is the administrator's own.
  const own = !existsSync(POLICY);
  if (own) await writeFile(POLICY, "#!/bin/sh\nexit 101\n", { mode: 0o755 });
  try {
    await run(APT, ["update", "-qq"]);
    await during(() => run(APT, ["-o", "DPkg::Lock::Timeout=300", "install", "-y", "-qq", "--no-install-recommends", debian]));
  } finally {
    if (own) await rm(POLICY, { force: true });
    // Fails where there is no such manager of services, and then nothing was started either.
    if (systemService !== null) spawnSync("systemctl", ["disable", "--now", systemService], { stdio: "ignore" });
  }
}

async function run(command: string, args: readonly string[]): Promise<void> {
  // What it says goes to standard error: standard output is for the answer of the command.
  const child = spawn(command, args, { stdio: ["ignore", 2, 2], env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" } });
  const [code] = (await once(child, "close")) as [number | null];
  if (code !== 0) throw new ServiceFault(`${command} ${args.join(" ")} failed with exit code ${String(code)}; what it said is above.`);
}

/** One at a time on this machine. The lock goes with the process that holds it, however that ends. */
async function alone<T>(work: () => Promise<T>): Promise<T> {
  const holder = spawn("flock", ["--timeout", String(LOCK_SECONDS), LOCK, "sh", "-c", "echo held; cat"], { stdio: ["pipe", "pipe", "inherit"] });
  const ended = once(holder, "close");
  const held = await Promise.race([once(holder.stdout, "data").then(() => true), ended.then(() => false)]);
  if (!held) throw new ServiceFault(`another installation has held ${LOCK} for ${LOCK_SECONDS} s; look at what apt-get does on this machine, then try again.`);
  try {
    return await work();
  } finally {
    holder.stdin.end();
    await ended;
  }
}
