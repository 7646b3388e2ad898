import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { defineConfig } from 'vitest/config';

const CACHES = join(import.meta.dirname, 'node_modules/.cache');

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: 'test/support/build.ts',
    pool: 'forks',
    // More than cores, where Vitest would leave one free: much of the time a test waits, for processes that it started or for time to pass.
    maxWorkers: Math.ceil(availableParallelism() * 1.5),
    // The programs that tests start, a thousand times or so, are compiled once: that halves what a start takes. So are Go's libraries.
    env: { NODE_COMPILE_CACHE: join(CACHES, 'node-compile-cache'), GOCACHE: join(CACHES, 'go-build') },
    // Real servers, processes and files: a slow machine must not fail a right answer, and only a wrong one takes so long.
    expect: { poll: { timeout: 60_000, interval: 20 } },
    testTimeout: 300_000,
    hookTimeout: 300_000,
  },
});
