/** The thread that copies the log into the database when it is told to (log-keeper.ts). */
import { DatabaseSync } from "node:sqlite";
import { parentPort, workerData, type MessagePort } from "node:worker_threads";
import { copyLog } from "./log-copy.ts";
import type { ToLogKeeper } from "./log-keeper.ts";

function serve(port: MessagePort, path: string): void {
  const db = new DatabaseSync(path);
  db.exec("PRAGMA synchronous = FULL");
  const pass = copyLog(db);
  port.on("message", ({ kind }: ToLogKeeper) => {
    if (kind === "pass") {
      port.postMessage(passed(pass));
      return;
    }
    db.close();
    port.close();
  });
}

/** False when it failed too, such as for a full disk. */
function passed(pass: () => boolean): boolean {
  try {
    return pass();
  } catch {
    return false;
  }
}

if (parentPort !== null) serve(parentPort, workerData as string);
