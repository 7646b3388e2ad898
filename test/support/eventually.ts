import { expect } from 'vitest';

/** Asks again until the expectation holds; a slow machine gets its time. */
export function eventually<T>(read: () => T | Promise<T>, message?: string) {
  return expect.poll(read, { timeout: 20_000, interval: 20, ...(message === undefined ? {} : { message }) });
}
