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

describe("package-lock.json", () => {
  it("has an entry for every package of every platform, without which `npm ci` refuses to begin", () => {
    const { packages } = JSON.parse(read("package-lock.json")) as { packages: Record<string, { dependencies?: object; optionalDependencies?: object }> };
    const resolved = (from: string, name: string): boolean => {
      const inside = `${from === "" ? "" : `${from}/`}node_modules/${name}`;
      const outside = from.slice(0, Math.max(0, from.lastIndexOf("node_modules/") - 1));
      return inside in packages || (from !== "" && resolved(outside, name));
    };
    const wanted = Object.entries(packages).flatMap(([from, { dependencies, optionalDependencies }]) => Object.keys({ ...dependencies, ...optionalDependencies }).map((name) => ({ from, name })));
    expect(wanted.filter(({ from, name }) => !resolved(from, name))).toEqual([]);
  });
});
