import { inspect } from 'node:util';
import { ApiError } from '@google/genai';
import { expect, test } from 'vitest';
import type { Attempt } from '../../../src/client/attempts.ts';
import type { RetryBudget } from '../../../src/client/genai/context.ts';
import { Outcome } from '../../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { expectedAnswer } from '../../fake-gemini/index.ts';
import { apiKeys } from '../../support/orders.ts';
import { bench, MODEL } from './bench.ts';

const [ONE, TWO, THREE] = apiKeys(3) as [string, string, string];
const HELLO = { model: MODEL, contents: 'hello' };
/** A pause that a test would not outlive. */
const FOR_EVER = 3_600_000;

async function thrownBy(promise: Promise<unknown>): Promise<Error & { attempts?: Attempt[]; status?: number }> {
  return promise.then(
    () => expect.fail('it did not reject'),
    (error: unknown) => error as Error,
  );
}

test('a dead key is left for another at once, and both are reported', async () => {
  const { ai, fake, events, endings, failures } = await bench(
    { [ONE]: { behaviour: 'dead' }, [TWO]: {} },
    { settings: { retryDelay: FOR_EVER } },
  );
  expect((await ai.models.generateContent(HELLO)).text).toBe(expectedAnswer('hello'));
  expect(fake.counts.byKey).toEqual({ [ONE]: 1, [TWO]: 1 });
  expect(await endings()).toEqual({ acquired: 2, succeeded: 1, failed: 1 });
  expect(await failures()).toEqual({ KEY_INVALID: 1 });
  expect(events.map(({ type }) => type)).toEqual(['lease', 'report', 'retry', 'lease', 'report']);
  expect(events[2]).toMatchObject({ errorClass: 'KEY_INVALID', model: MODEL, method: 'generateContent', delayMs: 0 });
  expect(events[4]).toMatchObject({ outcome: 'success', inputTokens: 2, httpStatus: 200 });
  expect(inspect(events)).not.toContain(ONE);
});

test('a limited key is left alone by the requests that follow', async () => {
  const { ai, fake } = await bench({ [ONE]: { behaviour: { minuteLimit: 1 } }, [TWO]: {} });
  for (let call = 0; call < 6; call++) await ai.models.generateContent(HELLO);
  expect(fake.counts.byKeyAndStatus[ONE]).toEqual({ 200: 1, 429: 1 });
  expect(fake.counts.byKeyAndStatus[TWO]).toEqual({ 200: 5 });
});

test.each(['json', 'array', 'text', 'sse'] as const)(
  'Gemini has the last word, with the tries on it: %s',
  async (wrapping) => {
    const keys = {
      [ONE]: { behaviour: 'dead' },
      [TWO]: { behaviour: 'suspended' },
      [THREE]: { behaviour: 'zeroQuota' },
    } as const;
    const { ai, endings, events } = await bench(keys, { fake: { wrapping }, settings: { maxWait: 0 } });
    const error = await thrownBy(ai.models.generateContent(HELLO));
    expect(error).toBeInstanceOf(ApiError);
    expect(error.status).toBe(429);
    expect(error.attempts?.map(({ errorClass }) => errorClass)).toEqual(['KEY_INVALID', 'KEY_SUSPENDED', 'QUOTA_ZERO']);
    expect(new Set(error.attempts?.map(({ keyId }) => keyId)).size).toBe(3);
    expect(await endings()).toEqual({ acquired: 3, failed: 3 });
    expect(events.at(-1)).toMatchObject({ type: 'exhausted', attempts: 3 });
  },
);

test('a key that Gemini repeats in its error is masked', async () => {
  const { ai } = await bench({ [ONE]: { behaviour: 'suspended' } }, { settings: { maxWait: 0 } });
  const error = await thrownBy(ai.models.generateContent(HELLO));
  expect(error).toMatchObject({ status: 403 });
  expect(inspect([error, ai], { depth: 20, showHidden: true })).not.toContain(ONE);
  const stream = await thrownBy(ai.models.generateContentStream(HELLO));
  expect(inspect(stream, { depth: 20, showHidden: true })).not.toContain(ONE);
});

test('no more than maxRetries follow the first try', async () => {
  const bad = { behaviour: 'badGateway' } as const;
  const { ai, fake } = await bench({ [ONE]: bad, [TWO]: bad, [THREE]: bad }, { settings: { maxRetries: 1 } });
  expect((await thrownBy(ai.models.generateContent(HELLO))).attempts).toHaveLength(2);
  expect(fake.counts.total).toBe(2);
});

test("the caller's own mistake is not tried again", async () => {
  const behaviour = { error: 'invalid_json_fieldviolation', on: ['generateContent'] } as const;
  const { ai, fake, failures } = await bench({ [ONE]: { behaviour }, [TWO]: { behaviour } });
  expect(await thrownBy(ai.models.generateContent(HELLO))).toMatchObject({ status: 400 });
  expect(fake.counts.total).toBe(1);
  expect(await failures()).toEqual({ BAD_REQUEST: 1 });
});

test.each(['overloaded', 'serverError', 'badGateway'] as const)(
  'where there is one key only, it is tried again after a pause: %s',
  async (behaviour) => {
    const { ai, fake, events } = await bench({ [ONE]: {} });
    fake.setKey(ONE, { behaviour, times: 1 });
    expect((await ai.models.generateContent(HELLO)).text).toBe(expectedAnswer('hello'));
    expect(fake.counts.byKey).toEqual({ [ONE]: 2 });
    expect(events.filter(({ type }) => type === 'retry')).toHaveLength(1);
  },
);

test.each(['beforeAnswer', 'midStream'] as const)(
  'an answer that breaks off before the caller has any of it is asked for again: %s',
  async (cut) => {
    const { ai, failures } = await bench({ [ONE]: { behaviour: { cut } }, [TWO]: {} });
    expect((await ai.models.generateContent(HELLO)).text).toBe(expectedAnswer('hello'));
    expect(await failures()).toEqual({ NETWORK: 1 });
  },
);

test('an answer that claims to be JSON and has none is asked for again', async () => {
  const { ai, fake, failures } = await bench({ [ONE]: { behaviour: { error: 'sdk_bad_json_body' } }, [TWO]: {} });
  expect((await ai.models.generateContent(HELLO)).text).toBe(expectedAnswer('hello'));
  expect(fake.counts.byKey).toEqual({ [ONE]: 1, [TWO]: 1 });
  expect(await failures()).toEqual({ SERVER_ERROR: 1 });
});

test.each(['', '{"candidates": [{"content"'])(
  'so is one with status 200, and the last is given as it is: %j',
  async (body) => {
    let requests = 0;
    const empty: typeof fetch = async () => {
      requests++;
      return new Response(body, { headers: { 'content-type': 'application/json' } });
    };
    const { ai, failures } = await bench({ [ONE]: {} }, { genai: { httpOptions: { fetch: empty as never } } });
    expect((await thrownBy(ai.models.generateContent(HELLO))).name).toBe('SyntaxError');
    expect(requests).toBe(4);
    expect(await failures()).toEqual({ SERVER_ERROR: 4 });
  },
);

test('a blocked prompt and an answer that ran out of tokens are successes of the key', async () => {
  const blocked = {
    status: 200,
    body: { promptFeedback: { blockReason: 'SAFETY' }, usageMetadata: { promptTokenCount: 3 } },
  };
  const cutShort = { status: 200, body: { candidates: [{ finishReason: 'MAX_TOKENS' }] } };
  const { ai, fake, endings } = await bench({ [ONE]: {} });
  for (const error of [blocked, cutShort]) {
    fake.setKey(ONE, { behaviour: { error }, times: 2 });
    expect(await ai.models.generateContent(HELLO)).toMatchObject(error.body);
    for await (const chunk of await ai.models.generateContentStream(HELLO)) expect(chunk).toMatchObject(error.body);
  }
  expect(fake.counts.total).toBe(4);
  expect(await endings()).toEqual({ acquired: 4, succeeded: 4 });
});

test("an abort ends the request at once, and is nobody's fault", async () => {
  const { ai, fake, endings, failures } = await bench({ [ONE]: { behaviour: { delayMs: Infinity } }, [TWO]: {} });
  const leave = new AbortController();
  const call = ai.models.generateContent({ ...HELLO, config: { abortSignal: leave.signal } });
  await expect.poll(() => fake.counts.inFlight).toBe(1);
  leave.abort();
  expect(await thrownBy(call)).toMatchObject({ name: 'AbortError', attempts: [{ errorClass: 'CANCELLED' }] });
  await expect.poll(() => fake.counts.inFlight).toBe(0);
  expect(fake.counts.total).toBe(1);
  expect(await endings()).toEqual({ acquired: 1, failed: 1 });
  expect(await failures()).toEqual({ CANCELLED: 1 });
});

test('an abort between two tries tells of the first', async () => {
  const { ai, fake, events } = await bench(
    { [ONE]: { behaviour: 'serverError' } },
    { settings: { retryDelay: FOR_EVER } },
  );
  const leave = new AbortController();
  const call = ai.models.generateContent({ ...HELLO, config: { abortSignal: leave.signal } });
  await expect.poll(() => events.map(({ type }) => type)).toContain('retry');
  leave.abort();
  expect(await thrownBy(call)).toMatchObject({ name: 'AbortError', attempts: [{ errorClass: 'SERVER_ERROR' }] });
  expect(fake.counts.total).toBe(1);
});

test('an abort ends waiting for a key, which nobody gets then', async () => {
  const { ai, balancer, endings } = await bench({ [ONE]: {} }, { settings: { maxWait: FOR_EVER } });
  const pool = { pool: 'default', maxConcurrentLeases: 1 };
  await balancer.keyAdmin.updatePool({ pool, updateMask: { paths: ['max_concurrent_leases'] } });
  const stats = async () => (await balancer.keyBalancer.getStats({ pools: ['default'] })).pools[0]!;
  const { lease } = await balancer.keyBalancer.acquireKey({});
  const leave = new AbortController();
  const call = ai.models.generateContent({ ...HELLO, config: { abortSignal: leave.signal } });
  await expect.poll(async () => (await stats()).waitingAcquires).toBe(1n);
  leave.abort();
  expect((await thrownBy(call)).name).toBe('AbortError');
  await balancer.keyBalancer.reportResult({ leaseId: lease!.leaseId, outcome: Outcome.UNUSED });
  expect(await endings()).toEqual({ acquired: 1, unused: 1 });
});

test("the SDK's time limit ends the request with all its tries, and is reported as that", async () => {
  const { ai, fake, failures } = await bench({ [ONE]: { behaviour: { delayMs: Infinity } } });
  const call = ai.models.generateContent({ ...HELLO, config: { httpOptions: { timeout: 2_000 } } });
  expect(await thrownBy(call)).toMatchObject({ name: 'AbortError', attempts: [{ errorClass: 'TIMEOUT' }] });
  expect(fake.counts.total).toBe(1);
  expect(await failures()).toEqual({ TIMEOUT: 1 });
});

test('interactions are tried as often as the settings say, and not by the SDK besides', async () => {
  const { ai, fake, endings } = await bench(
    { [ONE]: { behaviour: { error: 'overloaded_503_old', on: ['interactions.create', 'interactions.get'] } } },
    { settings: { maxRetries: 1 } },
  );
  const error = await thrownBy(ai.interactions.create({ model: MODEL, input: 'hello' }));
  expect(error).toMatchObject({ status: 503, attempts: [{ errorClass: 'OVERLOADED' }, { errorClass: 'OVERLOADED' }] });
  expect(fake.counts.total).toBe(2);
  await thrownBy(ai.interactions.get('none'));
  expect(fake.counts.total).toBe(4);
  expect(await endings()).toEqual({ acquired: 4, failed: 4 });
});

test('interactions go on with another key', async () => {
  const { ai, fake } = await bench({ [ONE]: { behaviour: 'dead' }, [TWO]: {} });
  const { output_text } = await ai.interactions.create({ model: MODEL, input: 'hello' });
  expect(output_text).toBe(expectedAnswer('hello'));
  expect(fake.counts.byKey).toEqual({ [ONE]: 1, [TWO]: 1 });
});

test('no key to be had is told in the words of the balancer', async () => {
  const { ai, events } = await bench({}, { settings: { maxWait: 0 } });
  const said = { name: 'KeyBalancerError', reason: 'POOL_EMPTY' };
  expect(await thrownBy(ai.models.generateContent(HELLO))).toMatchObject(said);
  // The SDK would wrap it twice.
  expect(await thrownBy(ai.interactions.create({ model: MODEL, input: 'hello' }))).toMatchObject(said);
  expect(await thrownBy(ai.interactions.create({ model: MODEL, input: 'hello', stream: true }))).toMatchObject(said);
  expect(await thrownBy(ai.agents.list())).toMatchObject(said);
  expect(events.map(({ type }) => type)).toEqual(Array(4).fill('exhausted'));
});

test('a budget that is spent ends the tries', async () => {
  let earned = 0;
  const spend: RetryBudget = { spend: () => false, earn: () => earned++ };
  const { ai, fake } = await bench({ [ONE]: { behaviour: 'serverError' }, [TWO]: {} }, { spend });
  expect(await thrownBy(ai.models.generateContent(HELLO))).toMatchObject({ status: 500 });
  expect(fake.counts.total).toBe(1);
  // Another key in place of one that is to blame costs nothing.
  fake.setKey(ONE, { behaviour: 'healthy' });
  fake.setKey(TWO, { behaviour: 'dead' });
  await ai.models.generateContent(HELLO);
  expect(fake.counts.total).toBe(3);
  expect(earned).toBe(1);
});

test('a body that flows is sent once', async () => {
  const { ai, fake } = await bench({ [ONE]: { behaviour: 'overloaded' }, [TWO]: {} });
  const { fetch: leased } = (ai as unknown as { httpOptions: { fetch: typeof fetch } }).httpOptions;
  const body = new Blob([JSON.stringify({ contents: [{ parts: [{ text: 'hello' }] }] })]).stream();
  const init = { method: 'POST', body, duplex: 'half' } as RequestInit;
  const response = await leased(`${fake.url}/v1/models/${MODEL}:generateContent`, init);
  expect(response.status).toBe(503);
  expect(fake.counts.total).toBe(1);
});

test('no other key goes out with a request, wherever it stands', async () => {
  const seen: unknown[] = [];
  const inner: typeof fetch = async (input, init) => {
    const headers = new Headers(init?.headers);
    seen.push([String(input), headers.get('x-goog-api-key'), headers.get('x-goog-user-project'), headers.get('x-own')]);
    return fetch(input, init);
  };
  const { ai, fake } = await bench({ [ONE]: {} }, { genai: { httpOptions: { fetch: inner as never } } });
  const { fetch: leased } = (ai as unknown as { httpOptions: { fetch: typeof fetch } }).httpOptions;
  const headers = { 'x-goog-api-key': 'mine', 'x-goog-user-project': 'mine', 'x-own': 'kept' };
  await leased(`${fake.url}/v1/models?key=mine&pageSize=1`, { headers });
  await leased(new Request(`${fake.url}/v1/models?pageSize=1&key=mine`, { headers }));
  await leased(new URL(`${fake.url}/v1/models?key=mine`), { headers });
  const sent = [ONE, null, 'kept'];
  expect(seen).toEqual([
    [`${fake.url}/v1/models?pageSize=1`, ...sent],
    [`${fake.url}/v1/models?pageSize=1`, ...sent],
    [`${fake.url}/v1/models`, ...sent],
  ]);
});

test('all that runs at once is accounted for', async () => {
  const keys = Object.fromEntries(
    apiKeys(12).map((key, index) => [key, index % 4 === 0 ? { behaviour: 'dead' as const } : {}]),
  );
  const { ai, fake, endings, events } = await bench(keys);
  const calls = Array.from(
    { length: 60 },
    async (_, at) => (await ai.models.generateContent({ ...HELLO, contents: `${at}` })).text,
  );
  expect(await Promise.all(calls)).toEqual(calls.map((_, at) => expectedAnswer(`${at}`)));
  const { acquired = 0, succeeded, failed = 0, ...others } = await endings();
  expect(others).toEqual({});
  expect(succeeded).toBe(60);
  expect(acquired).toBe(60 + failed);
  expect(fake.counts.byStatus).toEqual({ 200: 60, 400: failed });
  // Each lease is told of, and how it ended.
  const told = (type: string): number => events.filter((event) => event.type === type).length;
  expect([told('lease'), told('report')]).toEqual([acquired, acquired]);
});
