/** Guests' log lines in the host's log, each with its agent's id. */
import type { Logger } from "../observe/index.ts";
import type { GuestLogLine } from "../sandbox/index.ts";

export function guestLogger(log: Logger): (line: GuestLogLine) => void {
  const write = [log.trace, log.debug, log.info, log.warn, log.error].map((method) => method.bind(log));
  return ({ tag, level, line }) => write[level]?.({ agentId: tag, from: "guest" }, line);
}
