import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    pool: "forks",
    testTimeout: 30_000,
    hookTimeout: 60_000,
    coverage: {
      provider: "v8",
      reportOnFailure: true,
      include: ["runtime/**/*.ts"],
      exclude: ["runtime/contract/gen/**", "**/*.d.ts"],
      reporter: ["text-summary", "json-summary"],
      thresholds: { lines: 90 },
    },
    projects: [
      // Neither of these two leaves anything behind, so their files share a process and what it has loaded.
      { extends: true, test: { name: "unit", isolate: false, include: ["tests/unit/**/*.test.ts"] } },
      { extends: true, test: { name: "property", isolate: false, include: ["tests/property/**/*.test.ts"] } },
      { extends: true, test: { name: "integration", include: ["tests/integration/**/*.test.ts"] } },
      { extends: true, test: { name: "hostile", include: ["tests/hostile/**/*.test.ts"] } },
    ],
  },
});
