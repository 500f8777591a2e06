/** What a fleet runs, module by module, and the bytes of it. */
import type { FleetModule } from "../fleet-store.ts";
import type { Link } from "./link.ts";
import { bytes, number, text, textOrNull, type Row } from "./row.ts";
import { keptText } from "./stored-text.ts";
import { writeOne, type Writer } from "./transaction.ts";

export async function putModuleBytes(writer: Writer, digest: string, image: Uint8Array): Promise<void> {
  await writeOne(writer, "INSERT INTO module_bytes (digest, bytes) VALUES ($1, $2) ON CONFLICT (digest) DO NOTHING", [keptText(digest), image]);
}

export async function getModuleBytes(link: Link, digest: string): Promise<Uint8Array | null> {
  const [row] = await link.query("SELECT bytes FROM module_bytes WHERE digest = $1", [keptText(digest)]);
  return row === undefined ? null : bytes(row, "bytes");
}

function moduleOf(row: Row): FleetModule {
  return {
    module: text(row, "module"),
    digest: textOrNull(row, "digest"),
    file: text(row, "file"),
    version: text(row, "version"),
    generation: number(row, "generation"),
    changedAt: number(row, "changed_at"),
    changedBy: text(row, "changed_by"),
  };
}

/** By name. */
export async function listFleetModules(link: Link): Promise<FleetModule[]> {
  const modules = (await link.query("SELECT module, digest, file, version, generation, changed_at, changed_by FROM fleet_modules", [])).map(moduleOf);
  return modules.toSorted((a, b) => (a.module < b.module ? -1 : 1));
}

const FIRST = `
  INSERT INTO fleet_modules (module, digest, file, version, generation, changed_at, changed_by) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (module) DO NOTHING`;
const NEXT = `
  UPDATE fleet_modules SET digest = $2, file = $3, version = $4, generation = $5::bigint, changed_at = $6, changed_by = $7 WHERE module = $1 AND generation = $5::bigint - 1`;

export async function putFleetModule(writer: Writer, { module, digest, file, version, generation, changedAt, changedBy }: FleetModule): Promise<boolean> {
  const values = [keptText(module), digest === null ? null : keptText(digest), keptText(file), keptText(version), generation, changedAt, keptText(changedBy)];
  return (await writeOne(writer, generation === 1 ? FIRST : NEXT, values)).count > 0;
}
