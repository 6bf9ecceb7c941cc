import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

export default defineConfig({
  root: fileURLToPath(new URL("..", import.meta.url)),
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 60_000,
    hookTimeout: 120_000,
    // Two cores: more workers only make servers under test compete with each other.
    maxWorkers: 2,
    // Costs nothing until a test asks for a database.
    globalSetup: ["test/store/shared-postgres.ts"],
  },
});
