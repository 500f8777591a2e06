import { describe, expect, it } from "vitest";
import { SirsiError } from "../../runtime/core/errors.ts";
import { isBusyFault, isForeignKeyFault, isUniqueFault, storeFault } from "../../runtime/store/sqlite/sqlite-fault.ts";

function sqliteError(errcode: number): Error {
  return Object.assign(new Error("said by SQLite"), { code: "ERR_SQLITE_ERROR", errcode });
}

describe("a fault of SQLite", () => {
  it.each([
    ["permission", 3], ["busy", 5], ["locked", 6], ["memory", 7], ["read-only", 8], ["input/output", 10], ["a failed flush", 10 | (4 << 8)],
    ["full", 13], ["cannot open", 14], ["protocol", 15], ["too large", 22],
  ])("is STORE_UNAVAILABLE for %s", (_, errcode) => {
    const fault = storeFault(sqliteError(errcode));
    expect(fault.code).toBe("STORE_UNAVAILABLE");
    expect(fault.message).toContain(`SQLite ${errcode}: said by SQLite`);
  });

  it.each([
    ["a damaged page", 11], ["a damaged index", 11 | (3 << 8)], ["no database", 26], ["a corrupt file system", 10 | (33 << 8)], ["a constraint", 19 | (6 << 8)],
  ])("is STORE_CORRUPT for %s", (_, errcode) => {
    expect(storeFault(sqliteError(errcode)).code).toBe("STORE_CORRUPT");
  });

  it("is INTERNAL when it can only be a mistake of ours, with the cause kept", () => {
    const cause = sqliteError(1);
    expect(storeFault(cause)).toMatchObject({ code: "INTERNAL", cause });
    expect(storeFault(new TypeError("no such property"))).toMatchObject({ code: "INTERNAL", message: "no such property" });
    expect(storeFault("a string").code).toBe("INTERNAL");
  });

  it("leaves an error of ours as it is", () => {
    const ours = new SirsiError("AGENT_NOT_FOUND", "gone");
    expect(storeFault(ours)).toBe(ours);
  });

  it("is told apart where the code matters", () => {
    expect(isForeignKeyFault(sqliteError(787))).toBe(true);
    expect(isForeignKeyFault(sqliteError(19))).toBe(false);
    expect(isUniqueFault(sqliteError(2067))).toBe(true);
    expect(isUniqueFault(sqliteError(1555))).toBe(false);
    expect(isBusyFault(sqliteError(5 | (2 << 8)))).toBe(true);
    expect(isBusyFault(sqliteError(6))).toBe(false);
    expect(isBusyFault(new Error("other"))).toBe(false);
  });
});
