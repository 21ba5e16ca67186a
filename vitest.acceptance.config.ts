import { defineConfig } from "vitest/config";

// Real processes for minutes: `npm run acceptance`, and a step of `.ci/run`. One file at a time, so that the clusters
// of several files don't share two cores.
export default defineConfig({
  test: {
    pool: "forks",
    fileParallelism: false,
    include: ["test/acceptance/**/*.test.ts"],
    testTimeout: 180_000,
    hookTimeout: 60_000,
  },
});
