import { defineConfig } from "vitest/config";

// The engine runs inside the test process: forks keep a crash of the library from taking the runner down, and two
// at a time is what two cores bear.
export default defineConfig({
  test: {
    pool: "forks",
    maxWorkers: 2,
    include: ["src/**/*.test.ts", "test/**/*.test.ts", "scripts/**/*.test.ts"],
    exclude: ["dist/**", "node_modules/**", "test/acceptance/**"],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    coverage: { provider: "v8", include: ["src/**"], exclude: ["src/**/*.test.ts", "src/protocol/gen/**"] },
  },
});
