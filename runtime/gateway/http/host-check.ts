/**
 * Whether a request's Host header names this server. A page from elsewhere can
 * make a browser send requests to a loopback port under a name of its own (DNS
 * rebinding); such a request carries that name.
 */
import { isIP } from "node:net";
import { isLoopback, type ListenAddress } from "../../config/index.ts";

const HOST = /^(?:\[([\da-f:.]+)\]|([^:[\]]+))(?::(\d{1,5}))?$/;
const HTTP_PORT = 80;

export function isOwnHost(header: string | undefined, listen: ListenAddress): boolean {
  const match = HOST.exec((header ?? "").toLowerCase());
  if (match === null) return false;
  const host = match[1] ?? match[2] ?? "";
  const port = Number(match[3] ?? HTTP_PORT);
  if (match[1] !== undefined && isIP(host) !== 6) return false;
  return port === listen.port && (isLoopback(host) || host === listen.host.toLowerCase());
}
