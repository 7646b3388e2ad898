import { describe, expect, test } from 'vitest';
import { apiKeys } from '../support/orders.ts';
import { bench, endings, MODEL, WAYS } from './balancers.ts';

const [ONE] = apiKeys(1) as [string];

function refuse(): never {
  throw new Error('no');
}

function revoked(): object {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}

/** Each is made anew: some calls leave marks. */
const HOSTILE: Record<string, () => unknown> = {
  'a revoked proxy': revoked,
  'an error caused by a revoked proxy': () => new Error('no', { cause: revoked() }),
  'a revoked function': () => {
    const { proxy, revoke } = Proxy.revocable(refuse, {});
    revoke();
    return proxy;
  },
  'getters that throw': () =>
    Object.defineProperties(new Error('no'), {
      name: { get: refuse },
      message: { get: refuse },
      cause: { get: refuse },
      stack: { get: refuse },
      status: { get: refuse },
      usageMetadata: { get: refuse, enumerable: true },
    }),
  'usage whose counts throw': () => ({ usageMetadata: Object.defineProperty({}, 'promptTokenCount', { get: refuse }) }),
  'usage beyond all numbers': () => ({
    usageMetadata: { promptTokenCount: Number.NaN, candidatesTokenCount: -1, thoughtsTokenCount: 1e300 },
  }),
  'a frozen error': () => Object.freeze(new Error(`no ${ONE}`)),
  'a circle of causes': () => {
    const error = new Error('no');
    error.cause = error;
    return error;
  },
  'an error of another realm that cannot be compared': () =>
    new Proxy(new Error('no'), { getPrototypeOf: refuse, has: refuse, ownKeys: refuse, defineProperty: refuse }),
  'a status that is no number': () => ({ name: 'ApiError', status: { valueOf: refuse }, message: Symbol('no') }),
  'a halved letter': () => Object.assign(new Error('\ud800'), { name: 'ApiError', status: 400 }),
  'a symbol': () => Symbol('no'),
  'a bigint': () => 1n,
  'a thenable that throws': () => ({
    // biome-ignore lint/suspicious/noThenProperty: that is the point.
    get then() {
      return refuse();
    },
  }),
};

describe.each(WAYS)('a lease is reported, $way,', ({ place }) => {
  test.each(Object.keys(HOSTILE))('when the function throws or returns %s', async (name) => {
    const make = HOSTILE[name]!;
    const { wrapper } = await bench(await place(), { [ONE]: {} });
    const ways: (() => unknown)[] = [
      () => {
        throw make();
      },
      () => Promise.reject(make()),
      () => make(),
      async () => make(),
    ];
    for (const fn of ways) {
      await wrapper.executeWithRetry(fn).then(
        () => {},
        () => {},
      );
    }
    expect(await endings(wrapper)).toEqual({ acquired: ways.length, unused: ways.length });
  });

  test("when Gemini's own error takes no marks", async () => {
    const { wrapper } = await bench(await place(), { [ONE]: { behaviour: 'dead' } });
    let sealed: unknown;
    const call = wrapper.executeWithRetry((ai) =>
      ai.models.generateContent({ model: MODEL, contents: 'hello' }).catch((error: Error) => {
        sealed = new Proxy(error, { defineProperty: refuse, set: refuse, ownKeys: refuse });
        throw sealed;
      }),
    );
    expect((await call.catch((thrown: unknown) => thrown)) === sealed).toBe(true);
    expect(await endings(wrapper)).toEqual({ acquired: 1, failed: 1 });
  });
});
