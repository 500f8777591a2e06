/** One GuestEmit or GuestRequest to the host: what emits, timers, documents and waits have in common. */
import { AgentError, Code } from "./agent-error";
import { GuestEmit, GuestRequest, GuestResponse, readGuestResponse, writeGuestEmit, writeGuestRequest } from "./gen/guest";
import { hostEmit, hostRequest } from "./host";
import { wipeRoom } from "./room";
import { finishReading, releaseWritten, startReading, startWriting, writtenAt, writtenLength } from "./wire";

/** Puts it in the step's outbox. */
export function send(emit: GuestEmit): void {
  startWriting();
  writeGuestEmit(emit);
  hostEmit(writtenAt(), <i32>writtenLength());
  releaseWritten();
}

/** Waits for the host's answer; one that cannot be read is an error. */
export function wait(request: GuestRequest): GuestResponse {
  startWriting();
  writeGuestRequest(request);
  const packed = <u64>hostRequest(writtenAt(), <i32>writtenLength());
  releaseWritten();
  const ptr = <usize>(packed >> 32);
  const length = <usize>(packed & 0xffffffff);
  const response = new GuestResponse();
  startReading(ptr);
  readGuestResponse(response, ptr + length);
  wipeRoom(ptr, length);
  if (finishReading().length != 0) response.error = unexpected();
  return response;
}

export function unexpected(): AgentError {
  return AgentError.of(Code.INTERNAL, "the host's answer is not one to this request; rebuild the agent with an SDK of the host's ABI");
}
