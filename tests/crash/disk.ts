/** How the disk is filled: by a bound on the size of files, or, on a file system of our own, by a file that takes all the room. */
import { spawnSync } from "node:child_process";
import { rmSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { SirsiError } from "../../runtime/core/errors.ts";
import type { HostUnderTest } from "./host-under-test.ts";

export interface Disk extends Disposable {
  /** For the report. */
  readonly words: string;
  /** False when this system cannot do it. */
  fill(host: HostUnderTest): boolean;
  empty(host: HostUnderTest): void;
}

/** The directory's own file system: files cannot grow (EFBIG) while it is "full". */
export function boundedFiles(): Disk {
  return { words: "its own disk; a full one is played by a bound on file sizes (EFBIG)", fill: (host) => host.fillDisk(), empty: (host) => void host.emptyDisk(), [Symbol.dispose]: () => {} };
}

/** A file system in memory at `directory`, really full (ENOSPC) when it is filled. */
export function mountedDisk(directory: string, mib: number): Disk {
  const mounted = spawnSync("mount", ["-t", "tmpfs", "-o", `size=${mib}m`, "tmpfs", directory]);
  if (mounted.status !== 0) throw new SirsiError("INVALID_ARGUMENT", `no file system can be mounted here (${mounted.stderr?.toString().trim()}); leave out --disk-mib`);
  const ballast = join(directory, "ballast");
  return {
    words: `a file system of ${mib} MiB in memory, really full (ENOSPC) at times`,
    fill() {
      const { bavail, bsize } = statfsSync(directory);
      try {
        writeFileSync(ballast, Buffer.alloc(bavail * bsize));
      } catch {
        // The host may have taken a page of it meanwhile: full is what was wanted.
      }
      return true;
    },
    empty: () => rmSync(ballast, { force: true }),
    [Symbol.dispose]: () => void spawnSync("umount", [directory]),
  };
}
