/** What a client streams to us, as an async iterable that reads no further than it is asked. */
import type { ServerDuplexStream } from "@grpc/grpc-js";
import { requireWellFormed } from "../../contract/grpc-definition.ts";
import type { CallScope } from "./call-scope.ts";

export interface RequestStream {
  readonly requests: AsyncIterable<unknown>;
  /** Ends the iterable as if the client had closed its side: what was read is answered, nothing more is taken. */
  readonly stop: () => void;
}

export function openRequestStream(call: Pick<ServerDuplexStream<unknown, unknown>, "on" | "read" | "readableEnded" | "destroyed">, scope: CallScope): RequestStream {
  let stopped = false;
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
      if (stopped) return;
      const next: unknown = call.read();
      if (next !== null) yield requireWellFormed(next);
      else if (call.readableEnded || call.destroyed) return;
      else await changed();
    }
  }

  return {
    requests: requests(),
    stop: () => {
      stopped = true;
      onChange();
    },
  };
}
