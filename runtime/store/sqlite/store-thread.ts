/** The store's thread: opens the engine, then answers groups of calls until told to close. */
import { parentPort, receiveMessageOnPort, workerData, type MessagePort } from "node:worker_threads";
import { SirsiError } from "../../core/errors.ts";
import { armFault } from "../../core/fault-points.ts";
import { openEngine, type StoreEngine } from "./engine.ts";
import { LogKeeper } from "./log-keeper.ts";
import { CALLS, type FromThread, type StoreCall, type ThreadOptions, type ToThread } from "./protocol.ts";

/** A batch takes what is queued up to about this many calls, so that the first of them are not kept waiting for long. */
const BATCH_CALLS = 1_024;

function serve(port: MessagePort, engine: StoreEngine, log: LogKeeper): void {
  port.on("message", (first: ToThread) => {
    const calls: StoreCall[] = [];
    let message: ToThread | undefined = first;
    while (message?.kind === "calls") {
      for (const call of message.calls) calls.push(call);
      message = calls.length < BATCH_CALLS ? (receiveMessageOnPort(port)?.message as ToThread | undefined) : undefined;
    }
    if (calls.length > 0) {
      port.postMessage({ kind: "settled", settled: engine.run(calls) } satisfies FromThread);
      log.wrote(calls.reduce((sum, { name }) => (CALLS[name] === "write" ? sum + 1 : sum), 0));
    }
    if (message?.kind === "close") {
      void log.end().then(() => {
        engine.close();
        port.close();
      });
    }
  });
}

function start(port: MessagePort): void {
  const options = workerData as ThreadOptions;
  let engine: StoreEngine;
  try {
    armFault(options.fault);
    engine = openEngine(options);
  } catch (thrown) {
    port.postMessage({ kind: "refused", error: SirsiError.from(thrown).toPlain() } satisfies FromThread);
    return;
  }
  serve(port, engine, new LogKeeper(options.path, () => engine.shortenLog()));
  port.postMessage({ kind: "opened" } satisfies FromThread);
}

if (parentPort !== null) start(parentPort);
