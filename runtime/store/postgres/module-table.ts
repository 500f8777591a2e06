/** The modules of a host by its name ("" in no fleet), their revisions and swaps, and the probe. */
import { SirsiError } from "../../core/errors.ts";
import type { ModuleRecord, RevisionRecord, RevisionStateName, SwapRecord } from "../store.ts";
import type { Link, Statement } from "./link.ts";
import { flag, json, number, plain, text, textOrNull, type Row } from "./row.ts";
import { keptText } from "./stored-text.ts";
import { inTransaction, writeOne, type Writer } from "./transaction.ts";

const PUT_MODULE = `
  INSERT INTO host_modules (host, module, active_digest, retired, file) VALUES ($1, $2, $3, $4, $5)
  ON CONFLICT (host, module) DO UPDATE SET active_digest = excluded.active_digest, retired = excluded.retired, file = excluded.file`;
const PUT_REVISION = `
  INSERT INTO host_revisions (host, module, digest, version, state, reason, size_bytes, installed_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
  ON CONFLICT (host, module, digest) DO UPDATE SET version = excluded.version, state = excluded.state, reason = excluded.reason,
    size_bytes = excluded.size_bytes, installed_at = excluded.installed_at`;
const PUT_SWAP = "INSERT INTO host_swaps (host, swap_id, module, started_at, record) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (host, swap_id) DO UPDATE SET record = excluded.record";

function revisionStatement(host: string, { module, digest, version, state, reason, sizeBytes, installedAt }: RevisionRecord): Statement {
  return { sql: PUT_REVISION, parameters: [keptText(host), keptText(module), keptText(digest), keptText(version), state, keptText(reason), sizeBytes, installedAt] };
}

export async function putModule(writer: Writer, host: string, { module, activeDigest, retired, file }: ModuleRecord, revision: RevisionRecord | null): Promise<void> {
  const put = { sql: PUT_MODULE, parameters: [keptText(host), keptText(module), activeDigest, retired, keptText(file)] };
  await inTransaction(writer, revision === null ? [put] : [put, revisionStatement(host, revision)]);
}

export async function putRevision(writer: Writer, host: string, revision: RevisionRecord): Promise<void> {
  const { sql, parameters } = revisionStatement(host, revision);
  await writeOne(writer, sql, parameters);
}

function moduleOf(row: Row): ModuleRecord {
  return { module: text(row, "module"), activeDigest: textOrNull(row, "active_digest"), retired: flag(row, "retired"), file: text(row, "file") };
}

export async function listModules(link: Link, host: string): Promise<ModuleRecord[]> {
  const modules = (await link.query("SELECT module, active_digest, retired, file FROM host_modules WHERE host = $1", [keptText(host)])).map(moduleOf);
  return modules.toSorted((a, b) => (a.module < b.module ? -1 : 1));
}

function revisionOf(row: Row): RevisionRecord {
  return {
    digest: text(row, "digest"),
    module: text(row, "module"),
    version: text(row, "version"),
    state: plain(row, "state") as RevisionStateName,
    reason: text(row, "reason"),
    sizeBytes: number(row, "size_bytes"),
    installedAt: number(row, "installed_at"),
  };
}

export async function listRevisions(link: Link, host: string, module: string): Promise<RevisionRecord[]> {
  const sql = "SELECT module, digest, version, state, reason, size_bytes, installed_at FROM host_revisions WHERE host = $1 AND module = $2 ORDER BY installed_at DESC, digest DESC";
  return (await link.query(sql, [keptText(host), keptText(module)])).map(revisionOf);
}

export async function putSwap(writer: Writer, host: string, swap: SwapRecord): Promise<void> {
  await writeOne(writer, PUT_SWAP, [keptText(host), keptText(swap.swapId), keptText(swap.module), swap.startedAt, JSON.stringify(swap)]);
}

export async function listSwaps(link: Link, host: string, module: string | null, limit: number): Promise<SwapRecord[]> {
  const newest = "ORDER BY started_at DESC, swap_id DESC LIMIT";
  const rows =
    module === null
      ? await link.query(`SELECT swap_id, record FROM host_swaps WHERE host = $1 ${newest} $2`, [keptText(host), limit])
      : await link.query(`SELECT swap_id, record FROM host_swaps WHERE host = $1 AND module = $2 ${newest} $3`, [keptText(host), keptText(module), limit]);
  return rows.map((row) => json(row, "record", `swap ${text(row, "swap_id")}`) as SwapRecord);
}

export async function probe(link: Link): Promise<void> {
  const [written, read] = await inTransaction({ link, hostId: null }, [
    { sql: "UPDATE probe SET beat = beat + 1 WHERE id = 1 RETURNING beat", parameters: [] },
    { sql: "SELECT beat FROM probe WHERE id = 1", parameters: [] },
  ]);
  const [beat] = written ?? [];
  if (beat !== undefined && beat["beat"] === read?.[0]?.["beat"]) return;
  throw new SirsiError("STORE_CORRUPT", "The store does not give back what was just written to its table probe. Restore the database from a backup.");
}
