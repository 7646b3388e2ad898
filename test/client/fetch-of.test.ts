import { expect, onTestFinished, test, vi } from 'vitest';
import { fetchOf } from '../../src/client/fetch-of.ts';

const DISPATCHER = Symbol.for('undici.globalDispatcher.1');

/** What fetch is given beside the URL. */
async function given(): Promise<object | undefined> {
  const fetch = vi.fn(async (_url: string, _init?: object) => new Response());
  vi.stubGlobal('fetch', fetch);
  onTestFinished(() => {
    vi.unstubAllGlobals();
  });
  await fetchOf({})('http://127.0.0.1:1/', { method: 'POST' });
  return fetch.mock.calls[0]![1];
}

test('requests go without the time limits of fetch', async () => {
  expect(new Headers()).toBeDefined();
  expect(await given()).toEqual({ method: 'POST', dispatcher: expect.any(Object) });
});

test('where fetch has nothing to go by in sight, as in a context of Jest, they go as they are', async () => {
  const globals = globalThis as Record<symbol, unknown>;
  const dispatcher = globals[DISPATCHER];
  globals[DISPATCHER] = undefined;
  onTestFinished(() => {
    globals[DISPATCHER] = dispatcher;
  });
  expect(await given()).toEqual({ method: 'POST' });
});
