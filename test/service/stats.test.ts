import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { plainFinding } from '../../src/gemini/finding.ts';
import {
  CreatePoolRequestSchema,
  ErrorClass,
  GetStatsRequestSchema,
  Outcome,
} from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { getStats } from '../../src/server/service/get-stats.ts';
import { timestampMessage } from '../../src/server/service/time-messages.ts';
import { acquireOrder, apiKeys, createKeyOrder, importOrder, report } from '../support/orders.ts';
import { movedClock, openService, refusalOf, START_TIME, type TestService } from '../support/service.ts';

function stats({ context, call }: TestService, request: MessageInitShape<typeof GetStatsRequestSchema> = {}) {
  return getStats(context, create(GetStatsRequestSchema, request), call);
}

async function withPools(...pools: string[]): Promise<TestService> {
  const service = await openService({ clock: movedClock(), random: () => 0 });
  for (const pool of pools) {
    await service.admin.createPool(create(CreatePoolRequestSchema, { pool: { pool } }), service.call);
  }
  return service;
}

test('a fresh server has one empty pool and says who it is', async () => {
  const service = await openService();
  service.context.open.watchers = 2;
  service.context.open.sessions = 3;
  const { total, pools, keys, server } = await stats(service);
  expect(pools.map(({ pool }) => pool)).toEqual(['default']);
  expect(total).toMatchObject({ pool: '', totalKeys: 0n, averageWeight: 0, acquireLatency: { count: 0n } });
  expect(keys).toEqual([]);
  expect(server).toMatchObject({
    version: '1.2.3',
    startTime: { seconds: BigInt(START_TIME / 1000) },
    watchers: 2n,
    sessions: 3n,
    cache: { size: 0n, hits: 0n, misses: 0n, hitRate: 0 },
    memory: { keysBytes: 0n, estimatedBytesPer1000Keys: 0n },
  });
  expect(server!.databaseBytes).toBeGreaterThan(0n);
  expect(server!.memory!.residentBytes).toBeGreaterThan(10_000_000n);
});

test('keys, leases, waiting acquires, failures and latencies are counted for each pool and in all', async () => {
  const service = await withPools('other');
  const { store } = service.context;
  await store.importKeys(importOrder(apiKeys(3), { source: 'a' }));
  await store.createKey(createKeyOrder('AQ.test-key-b', { source: '__proto__', weight: 5, disabled: true }));
  await store.createKey({ ...createKeyOrder('AQ.test-key-c', { source: 'a' }), pool: 'other' });
  const { leaseId } = await store.acquire(acquireOrder({ model: 'm' }));
  const finding = plainFinding(ErrorClass.RATE_LIMITED_MINUTE, 'key', 1_000);
  await store.report(report(leaseId, { outcome: Outcome.FAILURE, finding, latencyMs: 250, outputTokens: 9 }));
  await store.acquire(acquireOrder({ pool: 'other' }));
  await store.updatePool({ pool: 'other', etag: '', change: { maxConcurrentLeases: 1 } });
  await expect(store.acquire(acquireOrder({ pool: 'other' }))).rejects.toThrow();
  const left = new AbortController();
  const waiting = store.acquire(acquireOrder({ pool: 'other', maxWaitMs: 60_000 }), left.signal).catch(() => {});
  const { total, pools } = await stats(service);
  left.abort();
  await waiting;
  const [first, second] = pools;
  expect(first).toMatchObject({
    pool: 'default',
    totalKeys: 4n,
    disabledKeys: 1n,
    activeLeases: 0n,
    failuresByClass: { RATE_LIMITED_MINUTE: 1n },
    averageWeight: 2,
    usage: { acquired: 1n, failed: 1n, calls: 1n, tokens: { outputTokens: 9n } },
  });
  expect(Object.entries(first!.keysBySource)).toEqual([
    ['a', 3n],
    ['__proto__', 1n],
  ]);
  expect(first!.availableKeys + first!.coolingKeys).toBe(3n);
  expect(first!.providerLatency!.count).toBe(1n);
  expect(first!.providerLatency!.max!.nanos).toBeGreaterThan(240_000_000);
  expect(second).toMatchObject({
    pool: 'other',
    totalKeys: 1n,
    activeLeases: 1n,
    waitingAcquires: 1n,
    acquiresRejected: 1n,
  });
  expect(total).toMatchObject({
    totalKeys: 5n,
    disabledKeys: 1n,
    activeLeases: 1n,
    waitingAcquires: 1n,
    acquiresRejected: 1n,
    failuresByClass: { RATE_LIMITED_MINUTE: 1n },
    averageWeight: 9 / 5,
    usage: { acquired: 2n, failed: 1n },
  });
  expect(Object.entries(total!.keysBySource)).toEqual([
    ['a', 4n],
    ['__proto__', 1n],
  ]);
});

test('named pools come in the order of their names, each once, and the total is of all; an unknown one is refused', async () => {
  const service = await withPools('a', 'b');
  await service.context.store.importKeys(importOrder(apiKeys(2)));
  const { total, pools } = await stats(service, { pools: ['b', 'a', 'b'] });
  expect(pools.map(({ pool }) => pool)).toEqual(['a', 'b']);
  expect(total!.totalKeys).toBe(2n);
  expect(await refusalOf(stats(service, { pools: ['a', 'nowhere'] }))).toMatchObject({ reason: 'POOL_NOT_FOUND' });
  expect(await refusalOf(stats(service, { pools: ['No Pool'] }))).toMatchObject({ reason: 'POOL_NOT_FOUND' });
});

test('include_keys adds at most 1000 keys of the pools that are named', async () => {
  const service = await withPools('other');
  const { store } = service.context;
  await store.importKeys(importOrder(['AQ.test-key-other'], { pool: 'other' }));
  await store.importKeys(importOrder(apiKeys(1_100)));
  expect((await stats(service, { includeKeys: true })).keys).toHaveLength(1_000);
  const { keys } = await stats(service, { includeKeys: true, pools: ['other'] });
  expect(keys).toMatchObject([{ keyId: 'key-00000001', pool: 'other', weight: 1 }]);
  const both = await stats(service, { includeKeys: true, pools: ['other', 'default'] });
  expect(both.keys).toHaveLength(1_000);
  expect(both.keys.filter(({ pool }) => pool === 'other')).toHaveLength(1);
});

test('include_models tells for each model which keys may serve it, and when the next one comes back', async () => {
  const service = await withPools();
  const { store } = service.context;
  await store.createKey(createKeyOrder('AQ.test-key-1'));
  await store.createKey(createKeyOrder('AQ.test-key-2', { models: ['flash'] }));
  await store.createKey(createKeyOrder('AQ.test-key-3', { models: ['pro'] }));
  await store.createKey(createKeyOrder('AQ.test-key-4', { project: 'p' }));
  const off = await store.createKey(createKeyOrder('AQ.test-key-5', { project: 'p' }));
  const rest = async (keyId: string, model: string, retryDelayMs: number): Promise<void> => {
    const { leaseId } = await store.acquire(acquireOrder({ model, requireKeyId: keyId }));
    const finding = plainFinding(ErrorClass.RATE_LIMITED_MINUTE, 'project-model', retryDelayMs);
    await store.report(report(leaseId, { outcome: Outcome.FAILURE, finding }));
  };
  await rest('key-00000003', 'pro', 90_000);
  await rest('key-00000004', 'pro', 60_000);
  await store.acquire(acquireOrder({ model: 'flash' }));
  const change = { disabled: true };
  await store.updateKey({ keyId: off.keyId, etag: '', change, newApiKey: undefined, idempotency: undefined });
  const { pools } = await stats(service, { includeModels: true });
  const models = Object.fromEntries(pools[0]!.models.map((each) => [each.model, each]));
  expect(Object.keys(models).sort()).toEqual(['flash', 'pro']);
  expect(models.pro).toMatchObject({ availableKeys: 1n, usage: { acquired: 2n, failed: 2n } });
  // A tenth is added at random, so that not all come back at once.
  const { cooldowns } = await store.getKey('key-00000004');
  expect(models.pro!.nextAvailableTime).toEqual(timestampMessage(cooldowns[0]!.untilTime));
  const seconds = Number(models.pro!.nextAvailableTime!.seconds) - START_TIME / 1000 - 1;
  expect(seconds).toBeGreaterThanOrEqual(60);
  expect(seconds).toBeLessThanOrEqual(66);
  expect(models.flash).toMatchObject({ availableKeys: 3n, usage: { acquired: 1n } });
  expect(models.flash!.nextAvailableTime).toBeUndefined();
  expect((await stats(service)).pools[0]!.models).toEqual([]);
});

test('the cache of decrypted keys says how often it had the key', async () => {
  const service = await openService();
  const { store } = service.context;
  await store.importKeys(importOrder(apiKeys(2)));
  for (let i = 0; i < 4; i++) await store.acquire(acquireOrder());
  const { server } = await stats(service);
  expect(server!.cache).toMatchObject({ size: 2n, hits: 4n, misses: 0n, hitRate: 1 });
  expect(server!.memory!.estimatedBytesPer1000Keys).toBe(server!.memory!.keysBytes * 500n);
});
