import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { describe, expect, test } from 'vitest';
import { BalancerError } from '../../src/engine/errors.ts';
import {
  CreatePoolRequestSchema,
  ErrorClass,
  KeyState,
  TestKeysRequestSchema,
  type TestKeysResponse,
} from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { testKeys } from '../../src/server/service/admin/test-keys.ts';
import type { ServiceContext } from '../../src/server/service/service-context.ts';
import type { KeyTestOrder, KeyTestView, Store } from '../../src/store/store.ts';
import { acquireOrder, apiKeys, importOrder } from '../support/orders.ts';
import { callOf, openService, refusalOf, type TestService } from '../support/service.ts';

type Request = MessageInitShape<typeof TestKeysRequestSchema>;

/** A test that runs until the test of the test lets it end. */
interface Running {
  order: KeyTestOrder;
  end(result?: Partial<KeyTestView>): void;
  fail(error: Error): void;
}

const OK = { ok: true, errorClass: ErrorClass.UNSPECIFIED, error: undefined, latencyMs: 7 };

/** A real store, in which tests of keys go as `testKey` says. */
function withTests(service: TestService, testKey: Store['testKey'], draining?: AbortSignal): ServiceContext {
  const store = new Proxy(service.context.store, {
    get: (target, name) => {
      const value: unknown = name === 'testKey' ? testKey : Reflect.get(target, name);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  return { ...service.context, store, ...(draining && { draining }) };
}

async function serviceWithKeys(keys: number): Promise<TestService> {
  const service = await openService();
  await service.context.store.importKeys(importOrder(apiKeys(keys)));
  return service;
}

async function all(responses: AsyncIterable<TestKeysResponse>): Promise<TestKeysResponse[]> {
  const read: TestKeysResponse[] = [];
  for await (const response of responses) read.push(response);
  return read;
}

function start(context: ServiceContext, request: Request = {}, signal?: AbortSignal) {
  return testKeys(context, create(TestKeysRequestSchema, request), callOf(signal && { signal }));
}

/** Tests that wait to be ended, in the order in which they began. */
function controlled(service: TestService, draining?: AbortSignal): { context: ServiceContext; running: Running[] } {
  const running: Running[] = [];
  const context = withTests(
    service,
    (order) =>
      new Promise((resolve, reject) => {
        running.push({
          order,
          end: (result) => resolve({ keyId: order.keyId, ...OK, ...result }),
          fail: reject,
        });
      }),
    draining,
  );
  return { context, running };
}

const passes: Store['testKey'] = async ({ keyId }) => ({ keyId, ...OK });
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const keyId = (n: number): string => `key-${String(n).padStart(8, '0')}`;

test('every key of the pool is tested once, with how many are done of how many, however many pages they are', async () => {
  const service = await serviceWithKeys(1_203);
  const results = await all(start(withTests(service, passes)));
  expect(results.map((result) => result.keyId).sort()).toEqual(Array.from({ length: 1_203 }, (_, i) => keyId(i + 1)));
  expect(results.map(({ done }) => done)).toEqual(results.map((_, index) => index + 1));
  expect(new Set(results.map(({ total }) => total))).toEqual(new Set([1_203]));
});

test('only keys of the pool that is named are tested, and an empty pool ends at once', async () => {
  const service = await serviceWithKeys(3);
  await service.admin.createPool(create(CreatePoolRequestSchema, { pool: { pool: 'other' } }), service.call);
  const context = withTests(service, passes);
  expect(await all(start(context, { pool: 'other' }))).toEqual([]);
  await service.context.store.importKeys({ ...importOrder(['AQ.test-key-other']), pool: 'other' });
  expect((await all(start(context, { pool: 'other' }))).map((result) => result.keyId)).toEqual([keyId(4)]);
  expect(await all(start(context))).toHaveLength(3);
});

test('keys that are named are tested in any pool, each once, disabled ones too', async () => {
  const service = await serviceWithKeys(3);
  await service.context.store.updateKey({
    keyId: keyId(2),
    etag: '',
    change: { disabled: true },
    newApiKey: undefined,
    idempotency: undefined,
  });
  const results = await all(start(withTests(service, passes), { keyIds: [keyId(2), keyId(1), keyId(2)] }));
  expect(results.map((result) => [result.keyId, result.total])).toEqual([
    [keyId(2), 2],
    [keyId(1), 2],
  ]);
});

test('a result tells class, error and latency, and comes as soon as its test ends', async () => {
  const { context, running } = controlled(await serviceWithKeys(2));
  const responses = start(context);
  const first = responses.next();
  await expect.poll(() => running.length).toBe(2);
  const error = { httpStatus: 400, message: 'API key not valid.' };
  running[1]?.end({ ok: false, errorClass: ErrorClass.KEY_INVALID, error, latencyMs: 1_500 });
  expect((await first).value).toMatchObject({
    keyId: keyId(2),
    ok: false,
    errorClass: ErrorClass.KEY_INVALID,
    error: { $typeName: 'keybalancer.v1.ProviderError', httpStatus: 400, message: 'API key not valid.' },
    latency: { seconds: 1n, nanos: 500_000_000 },
    done: 1,
    total: 2,
  });
  running[0]?.end();
  const second = (await responses.next()).value as TestKeysResponse;
  expect(second).toMatchObject({ keyId: keyId(1), ok: true, done: 2, total: 2 });
  expect(second.error).toBeUndefined();
  expect((await responses.next()).done).toBe(true);
});

test('model, timeout and apply are passed on; by default models are listed, within 10 s, and nothing is applied', async () => {
  const service = await serviceWithKeys(1);
  const orders: KeyTestOrder[] = [];
  const context = withTests(service, async (order) => {
    orders.push(order);
    return { keyId: order.keyId, ...OK };
  });
  await all(start(context));
  await all(start(context, { model: 'models/gemini-2.5-flash', timeout: durationFromMs(100), apply: true }));
  expect(orders).toMatchObject([
    { model: '', timeoutMs: 10_000, apply: false },
    { model: 'gemini-2.5-flash', timeoutMs: 100, apply: true },
  ]);
});

test.each([
  [undefined, 4],
  [1, 1],
  [32, 32],
])('with a parallelism of %s, %i tests run at a time', async (parallelism, atATime) => {
  const { context, running } = controlled(await serviceWithKeys(40));
  const responses = start(context, parallelism === undefined ? {} : { parallelism });
  const next = responses.next();
  await expect.poll(() => running.length).toBe(atATime);
  await turn();
  expect(running).toHaveLength(atATime);
  running[0]?.end();
  await next;
  void responses.next();
  await expect.poll(() => running.length).toBe(atATime + 1);
});

test('whoever does not read his results stops the tests', async () => {
  const { context, running } = controlled(await serviceWithKeys(40));
  const responses = start(context);
  const first = responses.next();
  await expect.poll(() => running.length).toBe(4);
  for (const { end } of running) end();
  await first;
  await turn();
  // One was taken, and nobody came for the others.
  expect(running).toHaveLength(4);
  await responses.next();
  expect(running.length).toBeLessThanOrEqual(5);
});

test('when the caller leaves, what runs is given up and nothing new begins', async () => {
  const { context, running } = controlled(await serviceWithKeys(40));
  const left = new AbortController();
  const responses = start(context, {}, left.signal);
  const next = responses.next();
  await expect.poll(() => running.length).toBe(4);
  left.abort();
  expect(await next).toEqual({ done: true, value: undefined });
  expect(running.map(({ order }) => order.signal.aborted)).toEqual([true, true, true, true]);
  for (const { end } of running) end();
  await turn();
  expect(running).toHaveLength(4);
});

test('a reader that takes one result and goes ends the tests that run', async () => {
  const { context, running } = controlled(await serviceWithKeys(40));
  const responses = start(context);
  const first = responses.next();
  await expect.poll(() => running.length).toBe(4);
  running[0]?.end();
  await first;
  await responses.return(undefined);
  expect(running.map(({ order }) => order.signal.aborted)).not.toContain(false);
});

test('a server that drains ends the tests and says so', async () => {
  const draining = new AbortController();
  const { context, running } = controlled(await serviceWithKeys(40), draining.signal);
  const next = refusalOf(start(context).next());
  await expect.poll(() => running.length).toBe(4);
  draining.abort();
  expect(await next).toMatchObject({ reason: 'DRAINING' });
  expect(running.map(({ order }) => order.signal.aborted)).not.toContain(false);
  expect(await refusalOf(start(context).next())).toMatchObject({ reason: 'DRAINING' });
  expect(running).toHaveLength(4);
});

test('a key that is deleted meanwhile is left out and no longer counted', async () => {
  const { context, running } = controlled(await serviceWithKeys(3));
  const responses = start(context);
  const next = responses.next();
  await expect.poll(() => running.length).toBe(3);
  running[0]?.fail(new BalancerError('KEY_NOT_FOUND', 'gone'));
  running[1]?.end();
  expect((await next).value).toMatchObject({ keyId: keyId(2), done: 1, total: 2 });
  running[2]?.end();
  expect((await responses.next()).value).toMatchObject({ done: 2, total: 2 });
});

test('keys that are deleted from the pages to come lower the total', async () => {
  const service = await serviceWithKeys(600);
  const { store } = service.context;
  const responses = start(withTests(service, passes), { parallelism: 1 });
  expect((await responses.next()).value).toMatchObject({ done: 1, total: 600 });
  for (let n = 551; n <= 560; n++) await store.deleteKey({ keyId: keyId(n), etag: '', allowMissing: false });
  const rest = await all(responses);
  expect(rest.at(-1)).toMatchObject({ done: 590, total: 590 });
});

test('a store that fails ends the stream with its error', async () => {
  const { context, running } = controlled(await serviceWithKeys(2));
  const next = refusalOf(start(context).next());
  await expect.poll(() => running.length).toBe(2);
  running[0]?.fail(new BalancerError('STORE_UNAVAILABLE', 'no writes'));
  expect(await next).toMatchObject({ reason: 'STORE_UNAVAILABLE' });
});

describe('a request that cannot be used is refused before any key is tested', () => {
  test.each<[Request, { reason: string; field?: string }]>([
    [{ parallelism: -1 }, { reason: 'INVALID_FIELD', field: 'parallelism' }],
    [{ modelsPageSize: 1001 }, { reason: 'INVALID_FIELD', field: 'models_page_size' }],
    [{ parallelism: 33 }, { reason: 'INVALID_FIELD', field: 'parallelism' }],
    [{ timeout: durationFromMs(99) }, { reason: 'INVALID_FIELD', field: 'timeout' }],
    [{ timeout: durationFromMs(60_001) }, { reason: 'INVALID_FIELD', field: 'timeout' }],
    [{ timeout: { seconds: -1n } }, { reason: 'INVALID_FIELD', field: 'timeout' }],
    [{ model: 'no model' }, { reason: 'INVALID_FIELD', field: 'model' }],
    [{ keyIds: Array<string>(10_001).fill(keyId(1)) }, { reason: 'INVALID_FIELD', field: 'key_ids' }],
    [{ keyIds: [keyId(1), ''] }, { reason: 'INVALID_FIELD', field: 'key_ids[1]' }],
    [
      { keyIds: [keyId(1)], pool: 'other' },
      { reason: 'INVALID_FIELD', field: 'key_ids[0]' },
    ],
    [{ keyIds: [keyId(1), keyId(77)] }, { reason: 'KEY_NOT_FOUND' }],
    [{ keyIds: ['AQ.test-key-000001'] }, { reason: 'KEY_NOT_FOUND' }],
    [{ pool: 'missing' }, { reason: 'POOL_NOT_FOUND' }],
  ])('%o', async (request, refusal) => {
    const service = await serviceWithKeys(1);
    let tested = 0;
    const context = withTests(service, async ({ keyId }) => {
      tested++;
      return { keyId, ...OK };
    });
    const refused = await refusalOf(start(context, request).next());
    expect(refused).toMatchObject(refusal);
    expect(refused.message).not.toContain('AQ.test');
    expect(tested).toBe(0);
  });
});

test('a real test asks Gemini with the key itself, and changes its health only where it is told to', async () => {
  const asked: string[] = [];
  const service = await openService({
    probe: async ({ apiKey }) => {
      asked.push(apiKey);
      return {
        latencyMs: 3,
        error: { httpStatus: 400, body: '', message: 'API key not valid. Please pass a valid API key.' },
      };
    },
  });
  await service.context.store.importKeys(importOrder(apiKeys(1)));
  const [told] = await all(start(service.context));
  expect(asked).toEqual(apiKeys(1));
  expect(told).toMatchObject({ ok: false, errorClass: ErrorClass.KEY_INVALID, done: 1, total: 1 });
  expect(await service.context.store.getKey(keyId(1))).toMatchObject({ state: KeyState.AVAILABLE });
  await all(start(service.context, { apply: true }));
  await expect(service.context.store.acquire(acquireOrder())).rejects.toBeInstanceOf(BalancerError);
});
