import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    // Real servers and files: a slow machine must not fail a right answer.
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
