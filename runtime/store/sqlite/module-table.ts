/** Modules and their revisions, and the probe. */
import type { DatabaseSync } from "node:sqlite";
import { SirsiError } from "../../core/errors.ts";
import type { ModuleRecord, RevisionRecord, RevisionStateName, SwapRecord } from "../store.ts";
import type { SyncStore } from "./protocol.ts";
import { json, number, text, textOrNull, type Row } from "./row.ts";

function moduleOf(row: Row): ModuleRecord {
  return {
    module: text(row, "module"),
    activeDigest: textOrNull(row, "active_digest"),
    retired: number(row, "retired") === 1,
    file: text(row, "file"),
  };
}

function revisionOf(row: Row): RevisionRecord {
  return {
    digest: text(row, "digest"),
    module: text(row, "module"),
    version: text(row, "version"),
    state: text(row, "state") as RevisionStateName,
    reason: text(row, "reason"),
    sizeBytes: number(row, "size_bytes"),
    installedAt: number(row, "installed_at"),
  };
}

type ModuleCalls = "putSwap" | "listSwaps" | "putModule" | "putRevision" | "listModules" | "listRevisions";

export function moduleTable(db: DatabaseSync): Pick<SyncStore, ModuleCalls> {
  const put = db.prepare(`
    INSERT INTO modules (module, active_digest, retired, file) VALUES (?, ?, ?, ?)
    ON CONFLICT (module) DO UPDATE SET active_digest = excluded.active_digest, retired = excluded.retired, file = excluded.file`);
  const write = db.prepare(`
    INSERT INTO revisions (module, digest, version, state, reason, size_bytes, installed_at) VALUES (?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (module, digest) DO UPDATE SET version = excluded.version, state = excluded.state,
      reason = excluded.reason, size_bytes = excluded.size_bytes, installed_at = excluded.installed_at`);
  const list = db.prepare("SELECT * FROM modules ORDER BY module");
  const listRevisions = db.prepare("SELECT * FROM revisions WHERE module = ? ORDER BY installed_at DESC, rowid DESC");

  const putSwap = db.prepare("INSERT INTO swaps (swap_id, module, started_at, record) VALUES (?, ?, ?, ?) ON CONFLICT (swap_id) DO UPDATE SET record = excluded.record");
  const swaps = db.prepare("SELECT swap_id, record FROM swaps WHERE ?1 IS NULL OR module = ?1 ORDER BY started_at DESC, rowid DESC LIMIT ?2");

  const putRevision = (revision: RevisionRecord): void => {
    const { module, digest, version, state, reason, sizeBytes, installedAt } = revision;
    write.run(module, digest, version, state, reason, sizeBytes, installedAt);
  };

  return {
    putModule(module, revision) {
      put.run(module.module, module.activeDigest, module.retired ? 1 : 0, module.file);
      if (revision !== null) putRevision(revision);
    },
    putRevision,
    listModules: () => list.all().map(moduleOf),
    putSwap: (swap) => void putSwap.run(swap.swapId, swap.module, swap.startedAt, JSON.stringify(swap)),
    listSwaps: (module, limit) => swaps.all(module, limit).map((row) => json(row, "record", `swap ${text(row, "swap_id")}`) as SwapRecord),
    listRevisions: (module) => listRevisions.all(module).map(revisionOf),
  };
}

export function probeTable(db: DatabaseSync): Pick<SyncStore, "probe"> {
  const write = db.prepare("UPDATE probe SET beat = beat + 1 WHERE id = 1 RETURNING beat");
  const read = db.prepare("SELECT beat FROM probe WHERE id = 1");
  return {
    probe() {
      const written = write.get();
      if (written !== undefined && written["beat"] === read.get()?.["beat"]) return;
      throw new SirsiError("STORE_CORRUPT", "The store does not give back what was just written to its table probe. Restore the data directory from a backup.");
    },
  };
}
