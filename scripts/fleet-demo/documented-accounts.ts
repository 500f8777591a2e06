/** The NATS users of docs/operate.md and what they may say, as a part of the server's configuration: what is shown is what is tried. */
import { readFileSync } from "node:fs";
import { SirsiError } from "../../runtime/core/errors.ts";

const PAGE = new URL("../../docs/operate.md", import.meta.url);

export const HOST_LOGIN = { kind: "password", user: "sirsi-host", password: "change-me" } as const;
export const CLIENT_LOGIN = { kind: "password", user: "sirsi-client", password: "change-me-too" } as const;

export function documentedAccounts(): string {
  const block = /^```\n(accounts \{\n[\s\S]*?)^```/m.exec(readFileSync(PAGE, "utf8"))?.[1];
  if (block === undefined) throw new SirsiError("INTERNAL", "docs/operate.md has no block of NATS accounts");
  return block;
}
