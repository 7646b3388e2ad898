import type { GoogleGenAI } from '@google/genai';
import { describe, expect, test } from 'vitest';
import type { LeaseSearch } from '../../src/client/genai/lease-search.ts';
import { Retries } from '../../src/client/genai/retries.ts';
import type { KeyBalancer } from '../../src/client/index.ts';
import { createRetryBudget } from '../../src/client/retry-budget.ts';
import { expectedAnswer } from '../fake-gemini/index.ts';
import { apiKeys } from '../support/orders.ts';
import { bench, MODEL, WAYS } from './balancers.ts';

/** A pause that a test would not outlive. */
const FOR_EVER = 3_600_000;
const CALLS = 30;

async function ask(ai: GoogleGenAI): Promise<string | undefined> {
  return (await ai.models.generateContent({ model: MODEL, contents: 'hello' })).text;
}

const WAYS_TO_CALL: readonly [string, (wrapper: KeyBalancer) => Promise<string | undefined>][] = [
  ['executeWithRetry()', (wrapper) => wrapper.executeWithRetry(ask)],
  ['genai()', (wrapper) => ask(wrapper.genai())],
];

/** The HTTP statuses that so many calls at once end with. */
function outcomes(wrapper: KeyBalancer, call: (wrapper: KeyBalancer) => Promise<unknown>): Promise<unknown[]> {
  return Promise.all(
    Array.from({ length: CALLS }, () => call(wrapper).catch((error: { status?: number }) => error.status)),
  );
}

test('a budget has ten in advance, and each call that ends well earns its share', () => {
  const budget = createRetryBudget(0.25);
  const spend = (): number => {
    let spent = 0;
    while (budget.spend()) spent++;
    return spent;
  };
  expect(spend()).toBe(10);
  for (let call = 0; call < 3; call++) budget.earn();
  expect(spend()).toBe(0);
  budget.earn();
  expect(spend()).toBe(1);
  // No more than ten are saved, however long all goes well.
  for (let call = 0; call < 1_000; call++) budget.earn();
  expect(spend()).toBe(10);
});

test('a budget of 0 has none', () => {
  const budget = createRetryBudget(0);
  budget.earn();
  expect(budget.spend()).toBe(false);
});

test.each([
  [502, false],
  [0, false],
  [400, true],
])(
  'spends for a failure by status %i of which the balancer told nothing in time, unless it may be the key’s',
  async (status, again) => {
    const leases = { leaveOut: () => {}, hasLeftOut: () => false, hasRoom: true } as unknown as LeaseSearch;
    const follow = (share: number): Promise<boolean> => {
      const context = { settings: { maxRetries: 3, retryDelay: 0 }, spend: createRetryBudget(share) };
      return new Retries(context, leases, { signal: undefined }, () => {}).follow(undefined, 'key-00000001', status);
    };
    expect(await follow(0)).toBe(again);
    expect(await follow(1)).toBe(true);
  },
);

describe.each(WAYS)('an outage of the provider, $way,', ({ place }) => {
  test.each(WAYS_TO_CALL)('multiplies no calls by %s', async (_, call) => {
    // 502: of 503s the balancer itself says when to try again.
    const keys = Object.fromEntries(apiKeys(60).map((key) => [key, { behaviour: 'badGateway' as const }]));
    const { fake, wrapper } = await bench(await place(), keys, { retryDelay: 1, maxWait: 0 });
    expect(await outcomes(wrapper, call)).toEqual(Array(CALLS).fill(502));
    expect(fake.counts.byMethod).toEqual({ generateContent: CALLS + 10 });
    fake.reset();
    await outcomes(wrapper, call);
    expect(fake.counts.byMethod).toEqual({ generateContent: CALLS });
  });

  test.each(WAYS_TO_CALL)('of 503s multiplies none by %s', async (_, call) => {
    const keys = Object.fromEntries(apiKeys(60).map((key) => [key, { behaviour: 'overloaded' as const }]));
    const { fake, wrapper } = await bench(await place(), keys, { retryDelay: 1, maxWait: 0 });
    expect(await outcomes(wrapper, call)).toEqual(Array(CALLS).fill(503));
    expect(fake.counts.byMethod.generateContent).toBeLessThanOrEqual(CALLS + 10);
  });

  test.each(WAYS_TO_CALL)('with a budget of 0 has nothing repeated by %s', async (_, call) => {
    const keys = Object.fromEntries(apiKeys(60).map((key) => [key, { behaviour: 'badGateway' as const }]));
    const { fake, wrapper } = await bench(await place(), keys, { retryDelay: 1, retryBudget: 0 });
    await outcomes(wrapper, call);
    expect(fake.counts.byMethod).toEqual({ generateContent: CALLS });
  });

  test.each(WAYS_TO_CALL)('has nothing to do with dead keys, which are changed at once by %s', async (_, call) => {
    const keys = Object.fromEntries(apiKeys(4).map((key, at) => [key, at < 3 ? { behaviour: 'dead' as const } : {}]));
    const { wrapper } = await bench(await place(), keys, { retryBudget: 0, retryDelay: FOR_EVER });
    expect(await call(wrapper)).toBe(expectedAnswer('hello'));
  });
});
