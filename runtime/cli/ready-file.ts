/** A file that is there exactly while the host is ready, whole from the moment it appears. */
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { UsageError } from "./failure.ts";

export interface Readiness {
  readonly grpc: string;
  readonly http: string;
  readonly pid: number;
  readonly version: string;
}

export function writeReadyFile(path: string, readiness: Readiness): void {
  const half = `${path}.${readiness.pid}.tmp`;
  try {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(half, `${JSON.stringify(readiness)}\n`);
    renameSync(half, path);
  } catch (cause) {
    if (existsSync(half)) rmSync(half);
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new UsageError(`the ready file ${path} cannot be written (${reason})`, "Name another file with --ready-file.");
  }
}

export function removeReadyFile(path: string): void {
  rmSync(path, { force: true });
}
