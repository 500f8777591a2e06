import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");

interface Package {
  readonly dependencies: Readonly<Record<string, string>>;
  readonly devDependencies: Readonly<Record<string, string>>;
}

describe("docs/dependencies.md", () => {
  const { dependencies, devDependencies } = JSON.parse(read("package.json")) as Package;
  const [, host = "", besides = ""] = read("docs/dependencies.md").split(/^## /m);
  const rows = (part: string) => Array.from(part.matchAll(/^\| `([^`]+)` \|(.*)\|$/gm), ([, name = "", cells = ""]) => ({ name, purpose: cells.split("|")[0]?.trim() ?? "" }));

  it.each([
    ["dependencies", host, dependencies],
    ["devDependencies", besides, devDependencies],
  ])("has a line for each of %s, and for nothing else", (_kind, part, named) => {
    expect(rows(part).map(({ name }) => name)).toEqual(Object.keys(named));
    expect(rows(part).filter(({ purpose }) => purpose === "")).toEqual([]);
  });

  it("is right that every version is exact", () => {
    expect(Object.entries({ ...dependencies, ...devDependencies }).filter(([, version]) => !/^\d+\.\d+\.\d+$/.test(version))).toEqual([]);
  });
});
