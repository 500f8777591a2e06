/** What a client streams to us, as an async iterable that reads no further than it is asked. */
import { setImmediate } from "node:timers/promises";
import type { ServerDuplexStream } from "@grpc/grpc-js";
import { requireWellFormed } from "../../contract/grpc-definition.ts";
import type { CallScope } from "./call-scope.ts";

export interface RequestStream {
  readonly requests: AsyncIterable<unknown>;
  /** Ends the iterable as if the client had closed its side: what has arrived is answered, nothing more is taken. */
  readonly stop: () => void;
}

export function openRequestStream(call: Pick<ServerDuplexStream<unknown, unknown>, "on" | "read" | "readableLength" | "readableEnded" | "destroyed">, scope: CallScope): RequestStream {
  /** How many more requests to take. */
  let left = Infinity;
  let wake: (() => void) | null = null;
  const onChange = () => {
    wake?.();
    wake = null;
  };
  const changed = () =>
    new Promise<void>((resolve) => {
      wake = resolve;
    });
  for (const event of ["readable", "end", "close", "cancelled"]) call.on(event, onChange);

  /** Throws what cut the call off, and INVALID_ARGUMENT for bytes that are no request. */
  async function* requests(): AsyncGenerator {
    for (;;) {
      const { interruption } = scope;
      if (interruption !== null) throw interruption;
      const next: unknown = left > 0 ? call.read() : null;
      left -= 1;
      if (next !== null) yield requireWellFormed(next);
      else if (left < Infinity) return;
      else if (!call.readableEnded && !call.destroyed) await changed();
      else {
        // A client that cancels looks at first like one that has only finished speaking.
        await setImmediate();
        if (scope.interruption !== null) throw scope.interruption;
        return;
      }
    }
  }

  return {
    requests: requests(),
    stop: () => {
      left = call.readableLength;
      onChange();
    },
  };
}
