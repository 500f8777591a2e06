/** host:port as people write it, IPv6 in brackets. */

export interface ListenAddress {
  /** Without brackets. */
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
}

export type AddressOutcome =
  | { readonly kind: "address"; readonly address: ListenAddress }
  | { readonly kind: "problem"; readonly problem: string };

const IPV6 = /^\[([0-9A-Fa-f:.]+)\]:(\d{1,5})$/;
const NAME = /^([^\s:[\]]+):(\d{1,5})$/;
const LOOPBACK_V4 = /^127\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/;

export function parseAddress(text: string): AddressOutcome {
  const match = IPV6.exec(text) ?? NAME.exec(text);
  if (match === null) return { kind: "problem", problem: "is not host:port; write 127.0.0.1:50051 or [::1]:50051" };
  const port = Number(match[2]);
  if (port > 65_535) return { kind: "problem", problem: `has port ${port}; ports go from 0 to 65535` };
  return { kind: "address", address: { host: match[1] as string, port } };
}

export function isLoopback(host: string): boolean {
  if (host === "localhost" || host === "::1") return true;
  const octets = LOOPBACK_V4.exec(host);
  return octets !== null && octets.slice(1).every((octet) => Number(octet) <= 255);
}

export function formatAddress(address: ListenAddress): string {
  return address.host.includes(":") ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`;
}
