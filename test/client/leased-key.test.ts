import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { ApiError, GoogleGenAI } from '@google/genai';
import { describe, expect, onTestFinished, test } from 'vitest';
import { connect } from '../../src/client/connect.ts';
import type { KeyBalancer, LeasedKey } from '../../src/client/index.ts';
import { apiKeys } from '../support/orders.ts';
import { bench, endings, MODEL, WAYS } from './balancers.ts';

const [ONE, TWO] = apiKeys(2) as [string, string];
const QUOTA = {
  error: { code: 429, status: 'RESOURCE_EXHAUSTED', message: 'You exceeded your current quota. Please retry in 20s.' },
};

async function failures(wrapper: KeyBalancer): Promise<Record<string, number>> {
  const { failuresByClass } = (await wrapper.getStats()).pools[0]!;
  return Object.fromEntries(Object.entries(failuresByClass).map(([name, count]) => [name, Number(count)]));
}

function generate(key: LeasedKey, url: string): Promise<Response> {
  return fetch(`${url}/v1beta/models/${MODEL}:generateContent`, {
    method: 'POST',
    headers: { 'x-goog-api-key': key.apiKey, 'content-type': 'application/json' },
    body: JSON.stringify({ contents: [{ parts: [{ text: 'hello' }] }] }),
  });
}

describe.each(WAYS)('a leased key, $way,', ({ place }) => {
  test('that was read and is disposed of counts as a success, and one that was not as unused', async () => {
    const { fake, wrapper } = await bench(await place(), { [ONE]: {} });
    {
      await using key = await wrapper.lease();
      expect(key).toMatchObject({ keyId: expect.stringMatching(/./), pool: 'default', model: MODEL });
      expect((await generate(key, fake.url)).status).toBe(200);
    }
    expect(await endings(wrapper)).toEqual({ acquired: 1, succeeded: 1 });
    {
      await using key = await wrapper.lease();
      expect(key.keyId).not.toBe('');
    }
    expect(await endings(wrapper)).toEqual({ acquired: 2, succeeded: 1, unused: 1 });
  });

  test('counts the tokens that it is told of', async () => {
    const { wrapper } = await bench(await place(), { [ONE]: {} });
    const key = await wrapper.lease({ estimatedTokens: 10.4 });
    await key.succeeded({ inputTokens: 12, outputTokens: 3, cachedTokens: 4 });
    const { tokens } = (await wrapper.getStats()).pools[0]!.usage!;
    expect(tokens).toMatchObject({ inputTokens: 12n, outputTokens: 3n, cachedTokens: 4n });
  });

  test('refuses tokens that are no numbers, and can still be reported', async () => {
    const { wrapper } = await bench(await place(), { [ONE]: {} });
    const key = await wrapper.lease();
    await expect(key.succeeded({ inputTokens: Number.NaN })).rejects.toThrow('inputTokens is NaN; allowed: 0 to');
    await expect(key.succeeded({ outputTokens: -1 })).rejects.toThrow('outputTokens is -1');
    await key.succeeded();
    expect(await endings(wrapper)).toEqual({ acquired: 1, succeeded: 1 });
  });

  test.each([
    ['status and body', () => ({ status: 429, body: JSON.stringify(QUOTA) })],
    ['a Response', () => Response.json(QUOTA, { status: 429 })],
    ['an error of the SDK', () => new ApiError({ status: 429, message: JSON.stringify(QUOTA) })],
  ])('that failed is judged by %s', async (_, failure) => {
    const { wrapper } = await bench(await place(), { [ONE]: {} });
    const key = await wrapper.lease();
    const judgement = await key.failed(failure());
    expect(judgement.errorClass).toMatch(/^RATE_LIMITED/);
    expect(judgement.retry).toBe(true);
    expect(judgement.excludeKeyIds.concat(judgement.excludeProjects).length).toBeGreaterThan(0);
    expect(await failures(wrapper)).toEqual({ [judgement.errorClass]: 1 });
    expect(await wrapper.lease().catch((error: { reason: string }) => error.reason)).toBe('NO_KEY_AVAILABLE');
  });

  test('is not blamed for a mistake of the program', async () => {
    const { wrapper } = await bench(await place(), { [ONE]: {} });
    const unread = await wrapper.lease();
    expect(await unread.failed(new TypeError('x is not a function'))).toMatchObject({ retry: false });
    const read = await wrapper.lease();
    expect(read.apiKey).toBe(ONE);
    await read.failed(new ReferenceError('x is not defined'));
    expect(await endings(wrapper)).toEqual({ acquired: 2, succeeded: 1, unused: 1 });
    expect(await failures(wrapper)).toEqual({});
  });

  test.each([undefined, null, 'no', {}, 7])(
    'that failed with %j is reported as failed, and serves on',
    async (thrown) => {
      const { wrapper } = await bench(await place(), { [ONE]: {} });
      const key = await wrapper.lease();
      await key.failed(thrown);
      expect(await endings(wrapper)).toEqual({ acquired: 1, failed: 1 });
      await (await wrapper.lease()).succeeded();
    },
  );

  test('is reported once, by whatever comes first', async () => {
    const { wrapper } = await bench(await place(), { [ONE]: {} });
    const reports: string[] = [];
    wrapper.on('report', ({ outcome }) => reports.push(outcome));
    {
      await using key = await wrapper.lease();
      await Promise.all([key.succeeded(), key.failed({ status: 429, body: JSON.stringify(QUOTA) })]);
      await key.succeeded();
    }
    expect(reports).toEqual(['success']);
    expect(await endings(wrapper)).toEqual({ acquired: 1, succeeded: 1 });
  });

  test('is renewed for as long as it is held, and no longer', async () => {
    const where = await place();
    const { wrapper } = await bench(where, { [ONE]: {} });
    const balancer = await connect(where);
    onTestFinished(() => balancer.close());
    await balancer.keyAdmin.updatePool({
      pool: { pool: 'default', defaultLeaseTtl: durationFromMs(4_000) },
      updateMask: { paths: ['default_lease_ttl'] },
    });
    const key = await wrapper.lease();
    const ends = async (): Promise<number> => {
      const { leases } = await balancer.keyAdmin.listLeases({});
      return Number(leases[0]?.expireTime?.seconds ?? 0);
    };
    const first = await ends();
    // Renewed twice at least: it would be over by then.
    await expect.poll(async () => (await ends()) - first).toBeGreaterThan(4);
    await key.succeeded();
    expect(await endings(wrapper)).toEqual({ acquired: 1, succeeded: 1 });
  });

  test('is had for a key that becomes free, and not by whoever gave up', async () => {
    const where = await place();
    const { wrapper } = await bench(where, {});
    const balancer = await connect(where);
    onTestFinished(() => balancer.close());
    await balancer.keyAdmin.createKey({ apiKey: ONE, key: { maxConcurrentLeases: 1 } });
    const first = await wrapper.lease();
    const reason = new Error('enough');
    for (const take of [
      (signal: AbortSignal) => wrapper.lease({ maxWait: 60_000, signal }),
      (signal: AbortSignal) => wrapper.leaseBatches([1], { maxWait: 60_000, signal }),
    ]) {
      const controller = new AbortController();
      const left = take(controller.signal).catch((error: unknown) => error);
      await expect.poll(async () => (await balancer.keyBalancer.getStats({})).total?.waitingAcquires).toBe(1n);
      controller.abort(reason);
      expect(await left).toBe(reason);
    }
    const next = wrapper.lease({ maxWait: 60_000 });
    await expect.poll(async () => (await balancer.keyBalancer.getStats({})).total?.waitingAcquires).toBe(1n);
    await first.succeeded();
    await (await next).succeeded();
    expect(await endings(wrapper)).toEqual({ acquired: 2, succeeded: 2 });
  });

  test('is of another key where its options leave one out', async () => {
    const { wrapper } = await bench(await place(), { [ONE]: {}, [TWO]: {} });
    const first = await wrapper.lease();
    const second = await wrapper.lease({ excludeKeyIds: [first.keyId] });
    expect(second.keyId).not.toBe(first.keyId);
    expect(new Set([first.apiKey, second.apiKey])).toEqual(new Set([ONE, TWO]));
    await Promise.all([first.succeeded(), second.succeeded()]);
  });

  test('is enough for an SDK client of its own', async () => {
    const { fake, wrapper } = await bench(await place(), { [ONE]: {} });
    await using key = await wrapper.lease();
    const ai = new GoogleGenAI({ apiKey: key.apiKey, vertexai: false, httpOptions: { baseUrl: fake.url } });
    expect((await ai.models.generateContent({ model: MODEL, contents: 'hello' })).text).toMatch(/./);
  });

  test('of batches comes with as many others as were asked for, no key twice in a batch', async () => {
    const { wrapper } = await bench(await place(), Object.fromEntries(apiKeys(30).map((key) => [key, {}])));
    const batches = await wrapper.leaseBatches([10, 20, 30]);
    expect(batches.map((keys) => new Set(keys.map(({ apiKey }) => apiKey)).size)).toEqual([10, 20, 30]);
    const [first, ...rest] = batches.flat();
    await first!.failed({ status: 429, body: JSON.stringify(QUOTA) });
    await Promise.all(rest.map((key) => key.succeeded()));
    expect(await endings(wrapper)).toEqual({ acquired: 60, succeeded: 59, failed: 1 });
    // All or none.
    await expect(wrapper.leaseBatches([1, 31])).rejects.toMatchObject({ code: expect.stringMatching(/./) });
    expect(await endings(wrapper)).toEqual({ acquired: 60, succeeded: 59, failed: 1 });
  });
});
