/**
 * PostgreSQL. Of Debian's package only the programs are used, never the cluster that it
 * may have set up. The server refuses to run as root, so for root it runs as the user
 * `postgres`, which then owns the directory.
 */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { appendFile, chmod, chown, mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { ensurePackage } from "./package-install.ts";
import { holdsProcess, launch, putAway } from "./server-process.ts";
import { freePort, newPassword, ServiceFault, type Service, type ServiceRecord, type StartOptions } from "./service.ts";

const execute = promisify(execFile);

const TITLE = "PostgreSQL";
const DEBIAN = "/usr/lib/postgresql";
const ELSEWHERE = ["/opt/homebrew/opt/postgresql/bin", "/usr/local/opt/postgresql/bin", "/usr/local/pgsql/bin", "/usr/bin", "/usr/local/bin"];
const NO_MAIN_CLUSTER = "/etc/postgresql-common/createcluster.d/sirsi.conf";
const USER = "sirsi";
const DATABASE = "sirsi";

interface Owner {
  readonly uid: number;
  readonly gid: number;
}

interface Plan {
  readonly port: number;
  readonly password: string;
}

async function findPrograms(): Promise<string | null> {
  const versions = await readdir(DEBIAN).catch(() => []);
  const newest = versions.toSorted((a, b) => Number(b) - Number(a)).map((version) => join(DEBIAN, version, "bin"));
  return [...newest, ...ELSEWHERE].find((folder) => existsSync(join(folder, "postgres")) && existsSync(join(folder, "initdb"))) ?? null;
}

/** The directory that the programs are in. */
function ensureInstalled(): Promise<string> {
  return ensurePackage({ title: TITLE, debian: "postgresql", homebrew: "postgresql", systemService: null, find: findPrograms, during: withoutMainCluster });
}

/** Debian's package sets up a server of its own on port 5432 unless it is told not to. */
async function withoutMainCluster(install: () => Promise<void>): Promise<void> {
  await mkdir(dirname(NO_MAIN_CLUSTER), { recursive: true });
  await writeFile(NO_MAIN_CLUSTER, "create_main_cluster = false\n");
  try {
    await install();
  } finally {
    await rm(NO_MAIN_CLUSTER, { force: true });
  }
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

async function prepare(folder: string, owner: Owner | null, directory: string, plan: Plan, config: string): Promise<void> {
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
  await appendFile(join(dataOf(directory), "postgresql.conf"), `\n${config}\n`);
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

async function run(folder: string, owner: Owner | null, directory: string, plan: Plan, { persistent }: { readonly persistent: boolean }): Promise<ServiceRecord> {
  const { port, password } = plan;
  const args = ["-D", dataOf(directory), "-h", "127.0.0.1", "-p", String(port), "-k", directory];
  const pid = await launch({ title: TITLE, program: join(folder, "postgres"), args, directory, port, owner, persistent, isReady: () => isReady(folder, plan) });
  return { name: "postgres", url: `postgres://${USER}:${password}@127.0.0.1:${port}/${DATABASE}`, host: "127.0.0.1", port, pid, directory };
}

async function start({ directory, port, config = "" }: StartOptions): Promise<ServiceRecord> {
  const folder = await ensureInstalled();
  const owner = await ownerFor();
  const plan: Plan = { port: port ?? (await freePort()), password: newPassword() };
  await prepare(folder, owner, directory, plan, config);
  const record = await run(folder, owner, directory, plan, { persistent: false });
  await tool(folder, "createdb", plan, [DATABASE]);
  return record;
}

async function restart({ directory }: ServiceRecord): Promise<ServiceRecord> {
  const plan = JSON.parse(await readFile(planFile(directory), "utf8")) as Plan;
  // A server that was killed leaves processes behind for a moment, and until they are gone no other may begin.
  return await run(await ensureInstalled(), await ownerFor(), directory, plan, { persistent: true });
}

/** As the server's own superuser, in one of its databases. */
export async function runSql({ directory }: ServiceRecord, database: string, sql: string): Promise<string> {
  const plan = JSON.parse(await readFile(planFile(directory), "utf8")) as Plan;
  return (await tool(await ensureInstalled(), "psql", plan, ["-d", database, "-v", "ON_ERROR_STOP=1", "-qAtc", sql])).stdout.trim();
}

const isRunning = (record: ServiceRecord): Promise<boolean> => holdsProcess(join(dataOf(record.directory), "postmaster.pid"), record);

/** Fast, as its manual calls it: sessions are ended, nothing is lost. */
async function stop(record: ServiceRecord): Promise<void> {
  await putAway(record, await isRunning(record), "SIGINT", TITLE);
}

export const postgresService: Service = { name: "postgres", purpose: "the store of a fleet", ensureInstalled, start, restart, isRunning, stop };
