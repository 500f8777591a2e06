/**
 * PostgreSQL. Of Debian's package only the programs are used, never the cluster that it
 * may have set up. The server refuses to run as root, so for root it runs as the user
 * `postgres`, which then owns the directory.
 */
import { execFile, spawn } from "node:child_process";
import { constants, existsSync } from "node:fs";
import { access, chmod, chown, mkdir, open, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { installAdvice, installPackage, mayInstall } from "./package-install.ts";
import { freePort, isAlive, newPassword, ServiceFault, until, type Service, type ServiceRecord, type StartOptions } from "./service.ts";

const execute = promisify(execFile);

const DEBIAN = "/usr/lib/postgresql";
const ELSEWHERE = ["/opt/homebrew/opt/postgresql/bin", "/usr/local/opt/postgresql/bin", "/usr/local/pgsql/bin", "/usr/bin", "/usr/local/bin"];
const NO_MAIN_CLUSTER = "/etc/postgresql-common/createcluster.d/sirsi.conf";
const START_MS = 60_000;
const STOP_MS = 30_000;
const USER = "sirsi";
const DATABASE = "sirsi";

interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/** Its settings are put down in its directory, so that it can be started there again. */
interface Plan {
  readonly port: number;
  readonly password: string;
  readonly settings: Readonly<Record<string, string>>;
}

async function findPrograms(): Promise<string | null> {
  const versions = await readdir(DEBIAN).catch(() => []);
  const newest = versions.toSorted((a, b) => Number(b) - Number(a)).map((version) => join(DEBIAN, version, "bin"));
  return [...newest, ...ELSEWHERE].find((folder) => existsSync(join(folder, "postgres")) && existsSync(join(folder, "initdb"))) ?? null;
}

/** Where the programs are; installs them when they are missing and it may. */
async function programs(): Promise<string> {
  const found = await findPrograms();
  if (found !== null) return found;
  const advice = `PostgreSQL is not on this machine. Install it: ${installAdvice("postgresql", "postgresql")}.`;
  if (!mayInstall()) throw new ServiceFault(advice);
  // Debian's package sets up a server of its own on port 5432 unless it is told not to.
  await mkdir(join(NO_MAIN_CLUSTER, ".."), { recursive: true });
  await writeFile(NO_MAIN_CLUSTER, "create_main_cluster = false\n");
  try {
    await installPackage("postgresql");
  } finally {
    await rm(NO_MAIN_CLUSTER, { force: true });
  }
  const installed = await findPrograms();
  if (installed === null) throw new ServiceFault(`${advice} (The package postgresql was installed, and its programs are not under ${DEBIAN}.)`);
  return installed;
}

/** Who the server runs as; null for ourselves. */
async function ownerFor(): Promise<Owner | null> {
  if (process.getuid?.() !== 0) return null;
  const entry = (await readFile("/etc/passwd", "utf8")).split("\n").find((line) => line.startsWith("postgres:"));
  const [, , uid, gid] = entry?.split(":") ?? [];
  if (uid === undefined || gid === undefined) throw new ServiceFault("PostgreSQL does not run as root, and this machine has no user `postgres`. Make one (`useradd --system postgres`), or run this as another user.");
  return { uid: Number(uid), gid: Number(gid) };
}

const planFile = (directory: string): string => join(directory, "plan.json");
const dataOf = (directory: string): string => join(directory, "data");
const logOf = (directory: string): string => join(directory, "server.log");

async function lastOfLog(directory: string): Promise<string> {
  const log = await readFile(logOf(directory), "utf8").catch(() => "");
  return log.trim().split("\n").slice(-8).join("\n");
}

async function prepare(folder: string, owner: Owner | null, directory: string, plan: Plan): Promise<void> {
  const passwordFile = join(directory, "password");
  await writeFile(passwordFile, plan.password, { mode: 0o600 });
  await writeFile(planFile(directory), JSON.stringify(plan), { mode: 0o600 });
  if (owner !== null) {
    for (const path of [directory, passwordFile]) await chown(path, owner.uid, owner.gid);
  }
  await chmod(directory, 0o700);
  const args = ["-D", dataOf(directory), "-U", USER, "--auth=scram-sha-256", `--pwfile=${passwordFile}`, "-E", "UTF8", "--locale=C", "--no-sync"];
  await execute(join(folder, "initdb"), args, { cwd: directory, ...owner });
  await rm(passwordFile);
}

function tool(folder: string, name: string, { port, password }: Plan, args: readonly string[]): Promise<{ readonly stdout: string }> {
  return execute(join(folder, name), ["-h", "127.0.0.1", "-p", String(port), "-U", USER, ...args], { env: { ...process.env, PGPASSWORD: password, PGCONNECT_TIMEOUT: "5" } });
}

async function isReady(folder: string, plan: Plan): Promise<boolean> {
  try {
    await tool(folder, "psql", plan, ["-d", "postgres", "-qAtc", "SELECT 1"]);
    return true;
  } catch {
    return false;
  }
}

/** Starts the server of a prepared directory and gives its process id once it takes connections. After a crash it waits for what is left of the one before. */
async function launch(folder: string, owner: Owner | null, directory: string, plan: Plan): Promise<number> {
  const settings = Object.entries(plan.settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
  const log = await open(logOf(directory), "a", 0o600);
  const begin = () => {
    const child = spawn(join(folder, "postgres"), ["-D", dataOf(directory), "-h", "127.0.0.1", "-p", String(plan.port), "-k", directory, ...settings], {
      cwd: directory, detached: true, stdio: ["ignore", log.fd, log.fd], ...owner,
    });
    child.unref();
    return child;
  };
  let child = begin();
  try {
    const ready = async (): Promise<boolean> => {
      // A server that was killed leaves processes behind for a moment, and until they are gone no other may begin.
      if (child.exitCode !== null || child.signalCode !== null) child = begin();
      return await isReady(folder, plan);
    };
    await until(ready, START_MS, async () => `PostgreSQL does not take connections on port ${plan.port}; its log ends with:\n${await lastOfLog(directory)}`);
  } catch (thrown) {
    child.kill("SIGKILL");
    throw thrown;
  } finally {
    await log.close();
  }
  return child.pid as number;
}

function recordOf(directory: string, { port, password }: Plan, pid: number): ServiceRecord {
  return { name: "postgres", url: `postgres://${USER}:${password}@127.0.0.1:${port}/${DATABASE}`, host: "127.0.0.1", port, pid, directory };
}

async function start({ directory, port, settings = {} }: StartOptions): Promise<ServiceRecord> {
  const folder = await programs();
  const owner = await ownerFor();
  const plan: Plan = { port: port ?? (await freePort()), password: newPassword(), settings };
  await prepare(folder, owner, directory, plan);
  const pid = await launch(folder, owner, directory, plan);
  await tool(folder, "createdb", plan, [DATABASE]);
  return recordOf(directory, plan, pid);
}

/** Again in its directory and on its port, after it was stopped from outside or killed. */
export async function restartPostgres({ directory }: ServiceRecord): Promise<ServiceRecord> {
  const plan = JSON.parse(await readFile(planFile(directory), "utf8")) as Plan;
  return recordOf(directory, plan, await launch(await programs(), await ownerFor(), directory, plan));
}

/** As the server's own superuser, in one of its databases. */
export async function runSql({ directory }: ServiceRecord, database: string, sql: string): Promise<string> {
  const plan = JSON.parse(await readFile(planFile(directory), "utf8")) as Plan;
  return (await tool(await programs(), "psql", plan, ["-d", database, "-v", "ON_ERROR_STOP=1", "-qAtc", sql])).stdout.trim();
}

async function isRunning({ directory, pid }: ServiceRecord): Promise<boolean> {
  const [first] = (await readFile(join(dataOf(directory), "postmaster.pid"), "utf8").catch(() => "")).split("\n");
  return first === String(pid) && isAlive(pid);
}

async function stop(record: ServiceRecord): Promise<void> {
  if (await isRunning(record)) {
    // Fast: sessions are ended, nothing is lost.
    process.kill(record.pid, "SIGINT");
    await until(() => !isAlive(record.pid), STOP_MS, () => `PostgreSQL (process ${record.pid}) does not stop; look at ${logOf(record.directory)}.`);
  }
  await access(record.directory, constants.F_OK).then(() => rm(record.directory, { recursive: true, force: true }), () => {});
}

export const postgresService: Service = { name: "postgres", purpose: "the store of a fleet", start, isRunning, stop };
