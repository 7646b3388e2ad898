import { join } from 'node:path';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: 'test/support/build.ts',
    pool: 'forks',
    // A core for each, where Vitest would leave one free: most of the time a test waits for processes that it started.
    maxWorkers: '100%',
    // The programs that tests start, a thousand times or so, are compiled once: that halves what a start takes.
    env: { NODE_COMPILE_CACHE: join(import.meta.dirname, 'node_modules/.cache/node-compile-cache') },
    // Real servers and files: a slow machine must not fail a right answer.
    expect: { poll: { timeout: 20_000, interval: 20 } },
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
