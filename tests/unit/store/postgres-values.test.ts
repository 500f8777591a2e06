import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isId } from "../../../runtime/core/ids.ts";
import { parseConnectionUrl } from "../../../runtime/store/postgres/connection-url.ts";
import { faultKind, LinkFault, storeFault, unreachable } from "../../../runtime/store/postgres/postgres-fault.ts";
import { arrayText, givenBytes, givenText, keptBytes, keptText, prefixEnd } from "../../../runtime/store/postgres/stored-text.ts";
import { userKey } from "../../../runtime/store/postgres/user-id.ts";

const anyText = fc.string({ unit: fc.oneof(fc.constantFrom("\0", "\u0001", "\u0002", "a", '"', "\\"), fc.string({ unit: "grapheme", minLength: 1, maxLength: 1 })) });

describe("text as Postgres can hold it", () => {
  it("comes back as it was, without the one character that may not be in it", () => {
    fc.assert(fc.property(anyText, (text) => {
      expect(keptText(text)).not.toContain("\0");
      expect(givenText(keptText(text))).toBe(text);
      expect(givenBytes(keptBytes(text))).toBe(text);
    }));
  });

  it("is bounded by the end of its prefix", () => {
    fc.assert(fc.property(anyText, anyText, (prefix, rest) => {
      const end = prefixEnd(prefix);
      expect(end === null).toBe(prefix === "");
      if (end !== null) expect(Buffer.compare(keptBytes(prefix + rest), end)).toBe(-1);
    }));
  });

  it("stands in an array with everything quoted that means something there", () => {
    expect(arrayText([])).toBe("{}");
    expect(arrayText([1, -2.5, true, null, Infinity])).toBe("{1,-2.5,true,NULL,Infinity}");
    expect(arrayText(["NULL", 'a "b" \\ {c},'])).toBe(String.raw`{"NULL","a \"b\" \\ {c},"}`);
    expect(arrayText([Uint8Array.of(0, 255), new Uint8Array(0)])).toBe(String.raw`{"\\x00ff","\\x"}`);
  });
});

describe("the key of a user", () => {
  it("is the id itself when that is a UUID, and one made from it for all other names", () => {
    const id = "0190f3c2-6b7e-7c31-8a51-3f0d5f0a9c11";
    expect(userKey(id)).toBe(id);
    for (const name of ["ada", "", "a@example.org", id.toUpperCase(), userKey("ada")]) {
      expect(isId(userKey(name))).toBe(true);
      expect(userKey(name)[14]).toBe("8");
      expect(userKey(name)).toBe(userKey(name));
      expect(userKey(name)).not.toBe(name);
    }
    expect(new Set(["ada", "Ada", "ada ", userKey("ada")].map(userKey)).size).toBe(4);
  });
});

describe("a connection URL", () => {
  it("names servers, database, user, password and settings", () => {
    const target = parseConnectionUrl("postgresql://ad%40a:p%2Fw@db-1.example.org:6432,[::1],10.0.0.3/fleet?sslmode=disable&search_path=agents&application_name=x");
    expect(target).toEqual({
      servers: [{ host: "db-1.example.org", port: 6432 }, { host: "::1", port: 5432 }, { host: "10.0.0.3", port: 5432 }],
      database: "fleet", user: "ad@a", password: "p/w", tls: false, settings: { search_path: "agents", application_name: "x" },
      label: "fleet on db-1.example.org:6432, ::1:5432, 10.0.0.3:5432",
    });
    expect(target.label).not.toContain(target.password);
  });

  it("says how TLS is checked, as libpq has it", () => {
    const folder = mkdtempSync(join(tmpdir(), "sirsi-url-"));
    const ca = join(folder, "ca.pem");
    writeFileSync(ca, "PEM");
    const tls = (query: string) => parseConnectionUrl(`postgres://u:p@host/db${query}`).tls;
    expect([tls(""), tls("?sslmode=prefer"), tls("?sslmode=disable"), tls("?sslmode=require"), tls("?sslmode=verify-full")]).toEqual(["prefer", "prefer", false, { rejectUnauthorized: false }, {}]);
    expect(tls(`?sslrootcert=${ca}`)).toEqual({ ca: "PEM" });
    expect(tls(`?sslmode=verify-full&sslrootcert=system`)).toEqual({});
    expect(tls(`?sslmode=require&sslrootcert=${ca}`)).toEqual({ ca: "PEM", checkServerIdentity: expect.any(Function) });
    expect(tls(`?sslmode=verify-ca&sslrootcert=${ca}&sslcert=${ca}&sslkey=${ca}`)).toEqual({ ca: "PEM", cert: "PEM", key: "PEM", checkServerIdentity: expect.any(Function) });
    rmSync(folder, { recursive: true });
    expect(() => tls(`?sslmode=verify-full&sslrootcert=${ca}`)).toThrow(/sslrootcert.*cannot be read/);
  });

  it.each(["mysql://u:p4ssw0rd@host/db", "postgres://u:p4ssw0rd@/db", "postgres://u:p4ssw0rd@host", "postgres://host/db", "postgres://u:p4ss@w0rd@host/db", "postgres://u:p4ssw0rd@host/db?sslmode=maybe", "postgres://u:p4ssw0rd@host:port/db"])(
    "that cannot be used is refused without its password: %s",
    (url) => {
      expect(() => parseConnectionUrl(url)).toThrow(expect.objectContaining({ code: "STORE_UNAVAILABLE", message: expect.not.stringContaining("w0rd") as string }));
    },
  );
});

describe("a fault of the database", () => {
  it.each([
    ["40001", "conflict", "STORE_UNAVAILABLE"], ["40P01", "conflict", "STORE_UNAVAILABLE"], ["08006", "lost", "INTERNAL"], ["57P01", "lost", "STORE_UNAVAILABLE"], ["25P03", "lost", "INTERNAL"], ["40003", "lost", "INTERNAL"],
    ["53100", "unavailable", "STORE_UNAVAILABLE"], ["25006", "unavailable", "STORE_UNAVAILABLE"], ["57014", "unavailable", "STORE_UNAVAILABLE"], ["55P03", "unavailable", "STORE_UNAVAILABLE"],
    ["23503", "refused", "STORE_CORRUPT"], ["22P02", "refused", "INTERNAL"], ["XX001", "refused", "STORE_CORRUPT"],
  ])("%s is of the kind %s", (code, kind, error) => {
    const thrown = Object.assign(new LinkFault(code, "said"));
    expect(faultKind(thrown)).toBe(kind);
    expect(storeFault(thrown)).toMatchObject({ code: error, message: expect.stringContaining("said") });
  });

  it.each(["ECONNREFUSED", "ECONNRESET", "EPIPE", "ENOTFOUND", "CONNECTION_CLOSED", "CONNECT_TIMEOUT", "DEPTH_ZERO_SELF_SIGNED_CERT", "ERR_TLS_CERT_ALTNAME_INVALID"])("%s is one of the connection", (code) => {
    expect(faultKind(new LinkFault(code, "said"))).toBe("lost");
    expect(unreachable(new LinkFault(code, "said"), "db on host", 100)).toMatchObject({ code: "STORE_UNAVAILABLE", retryable: true, details: { retryAfterMs: 100 } });
  });
});
