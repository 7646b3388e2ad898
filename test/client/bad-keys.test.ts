import type { GoogleGenAI } from '@google/genai';
import { describe, expect, test } from 'vitest';
import type { KeyBalancer } from '../../src/client/index.ts';
import { expectedAnswer, type FakeGeminiOptions } from '../fake-gemini/index.ts';
import { apiKeys } from '../support/orders.ts';
import { bench, MODEL, WAYS } from './balancers.ts';

/** A wait that a test would not outlive. */
const FOR_EVER = 3_600_000;
const NO_PERMISSION = {
  error: { code: 403, message: 'The caller does not have permission', status: 'PERMISSION_DENIED' },
};
const [ONE] = apiKeys(1) as [string];

async function ask(ai: GoogleGenAI): Promise<string | undefined> {
  return (await ai.models.generateContent({ model: MODEL, contents: 'hello' })).text;
}

const WAYS_TO_CALL: readonly [string, (wrapper: KeyBalancer) => Promise<string | undefined>][] = [
  ['executeWithRetry()', (wrapper) => wrapper.executeWithRetry(ask)],
  ['genai()', (wrapper) => ask(wrapper.genai())],
];

/** So many keys, of which the last one is well; the others by turns as said. */
function lastOfAll(count: number, behaviours: readonly NonNullable<FakeGeminiOptions['keys']>[string]['behaviour'][]) {
  return Object.fromEntries(
    apiKeys(count).map((key, at) => {
      const behaviour = behaviours[at % behaviours.length];
      return [key, at === count - 1 || behaviour === undefined ? {} : { behaviour }];
    }),
  );
}

describe.each(WAYS)('a call on a pool with bad keys, $way,', ({ place }) => {
  test.each(WAYS_TO_CALL)('finds the one that serves behind any number of others, by %s', async (_, call) => {
    const refusals = [
      'prepay_depleted_429',
      'tpm_paid',
      'rpd_free_short_retry',
      'key_referrer_blocked',
      'spend_rate_limit',
    ];
    const keys = lastOfAll(30, ['dead', 'leaked', 'zeroQuota', ...refusals.map((error) => ({ error }))]);
    const { fake, wrapper } = await bench(await place(), keys, { retryDelay: FOR_EVER, retryBudget: 0 });
    expect(await call(wrapper)).toBe(expectedAnswer('hello'));
    expect(Object.keys(fake.counts.byKeyAndModel)).toHaveLength(30);
  });

  test.each(WAYS_TO_CALL)('makes one try where maxRetries is 0, by %s', async (_, call) => {
    const { wrapper } = await bench(await place(), lastOfAll(2, ['dead']), { maxRetries: 0 });
    await expect(call(wrapper)).rejects.toMatchObject({ status: 400, attempts: { length: 1 } });
  });

  test.each(WAYS_TO_CALL)(
    'goes on so far only where the request itself may be refused with any key, by %s',
    async (_, call) => {
      const keys = lastOfAll(10, [{ error: { status: 403, body: NO_PERMISSION }, on: ['generateContent'] }]);
      const { wrapper } = await bench(await place(), keys, { maxRetries: 2 });
      await expect(call(wrapper)).rejects.toMatchObject({ status: 403, attempts: { length: 3 } });
    },
  );

  test.each(WAYS_TO_CALL)(
    'fails at once when the only key rests for longer than it may wait, by %s',
    async (_, call) => {
      const keys = { [ONE]: { behaviour: { dayLimit: 1 } } };
      const { wrapper } = await bench(await place(), keys, { maxWait: 60_000 });
      await call(wrapper);
      await expect(call(wrapper)).rejects.toMatchObject({ status: 429, attempts: { length: 1 } });
      await expect(call(wrapper)).rejects.toMatchObject({ code: 'RESOURCE_EXHAUSTED', reason: 'NO_KEY_AVAILABLE' });
      const error = await call(wrapper).catch((thrown: { retryAfterMs?: number }) => thrown);
      expect(error).toMatchObject({ retryAfterMs: expect.any(Number) });
      expect((error as { retryAfterMs: number }).retryAfterMs).toBeGreaterThan(60_000);
    },
  );

  test('ends when an acquire can leave out no more keys', async () => {
    const { fake, wrapper } = await bench(await place(), lastOfAll(66, ['dead']));
    await expect(wrapper.executeWithRetry(ask)).rejects.toMatchObject({ status: 400, attempts: { length: 65 } });
    expect(Object.keys(fake.counts.byKeyAndModel)).toHaveLength(65);
  });

  test('fails at once when it rests beyond the deadline of the call', async () => {
    const keys = { [ONE]: { behaviour: { minuteLimit: 1 } } };
    const { wrapper } = await bench(await place(), keys, { maxWait: FOR_EVER });
    await wrapper.executeWithRetry(ask);
    const call = wrapper.withRetry(ask, { deadline: 20_000 });
    await expect(call()).rejects.toMatchObject({ status: 429 });
    await expect(call()).rejects.toMatchObject({ reason: 'NO_KEY_AVAILABLE' });
    await expect(
      wrapper.genai({ httpOptions: { timeout: 20_000 } }).models.generateContent({ model: MODEL, contents: 'hello' }),
    ).rejects.toMatchObject({ reason: 'NO_KEY_AVAILABLE' });
  });

  test.each<[string, (wrapper: KeyBalancer) => Promise<unknown>]>([
    ['withRetry()', (wrapper) => wrapper.withRetry(ask, { deadline: 19_000 })()],
    ['genai()', (wrapper) => ask(wrapper.genai({ httpOptions: { timeout: 19_000 } }))],
  ])('fails at once when Gemini says to come back beyond the deadline of the call, by %s', async (_, call) => {
    const retry = { '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay: '20s' };
    const body = { error: { code: 503, message: 'Overloaded.', status: 'UNAVAILABLE', details: [retry] } };
    const keys = { [ONE]: { behaviour: { error: { status: 503, body } } } };
    const { wrapper } = await bench(await place(), keys, { maxWait: FOR_EVER });
    await expect(call(wrapper)).rejects.toMatchObject({ status: 503, attempts: { length: 1 } });
  });

  test.each(WAYS_TO_CALL)('waits for the only key when its limit passes in time, by %s', async (_, call) => {
    // The balancer rests a key for 2 s at the least.
    const { fake, wrapper } = await bench(await place(), { [ONE]: {} }, { maxWait: 60_000 });
    fake.setKey(ONE, { behaviour: { error: 'retry_zero' }, times: 1 });
    expect(await call(wrapper)).toBe(expectedAnswer('hello'));
    expect(fake.counts.byKeyAndStatus[ONE]).toEqual({ 429: 1, 200: 1 });
  });
});
