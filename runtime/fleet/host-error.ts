/** Errors as they travel between hosts: the whole of them, unlike what clients get. */
import type { HostError } from "../contract/gen/sirsi/fleet/v1/fleet_pb.ts";
import { ERROR_TABLE, type ErrorCode, type ErrorDetails, SirsiError } from "../core/errors.ts";

export function hostErrorOf(error: SirsiError): Pick<HostError, "code" | "message" | "details"> {
  const { code, message, details } = error.toPlain();
  return { code, message, details: JSON.stringify(details) };
}

export function errorOfHost({ code, message, details }: Pick<HostError, "code" | "message" | "details">): SirsiError {
  // A newer host may have codes that this one does not know.
  if (!isCode(code)) return new SirsiError("INTERNAL", `another host answered ${code}: ${message}`);
  return new SirsiError(code, message, readDetails(details));
}

function isCode(text: string): text is ErrorCode {
  return Object.hasOwn(ERROR_TABLE, text);
}

function readDetails(text: string): ErrorDetails {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null ? value : {};
  } catch {
    return {};
  }
}
