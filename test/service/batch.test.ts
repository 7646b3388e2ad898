import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import {
  BatchGetKeysRequestSchema,
  type BatchGetKeysResponse,
  KeyReuse,
} from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { batchGetKeys } from '../../src/server/service/batch-get-keys.ts';
import { acquireOrder, apiKeys, importOrder, report } from '../support/orders.ts';
import { callOf, openService, refusalOf, type TestService } from '../support/service.ts';

type Request = MessageInitShape<typeof BatchGetKeysRequestSchema>;

function run({ context, call }: TestService, request: Request): Promise<BatchGetKeysResponse> {
  return batchGetKeys(context, create(BatchGetKeysRequestSchema, request), call);
}

async function withKeys(count: number): Promise<TestService> {
  const service = await openService();
  await service.context.store.importKeys(importOrder(apiKeys(count)));
  return service;
}

function keyIds({ batches }: BatchGetKeysResponse): string[][] {
  return batches.map(({ leases }) => leases.map(({ keyId }) => keyId));
}

test('each size asked for is a batch of just so many leases, in the order of the sizes', async () => {
  const service = await withKeys(12);
  const response = await run(service, {
    batchSizes: [10, 20, 30],
    model: 'models/gemini-2.5-flash',
    leaseTtl: ttl(30),
  });
  expect(response.batches.map(({ requestedSize, leases }) => [requestedSize, leases.length])).toEqual([
    [10, 10],
    [20, 20],
    [30, 30],
  ]);
  const leases = response.batches.flatMap((batch) => batch.leases);
  expect(new Set(leases.map(({ leaseId }) => leaseId)).size).toBe(60);
  expect(new Set(leases.map(({ keyId }) => keyId)).size).toBe(12);
  for (const { model, pool, apiKey } of leases) {
    expect({ model, pool }).toEqual({ model: 'gemini-2.5-flash', pool: 'default' });
    expect(apiKey).toMatch(/^AQ\.test-key-/);
  }
  expect((await service.context.store.stats({ pools: [], includeModels: false })).total.activeLeases).toBe(60);
});

test.each<[string, Request]>([
  ['batch_sizes', { batchSizes: [] }],
  ['batch_sizes', { batchSizes: Array.from({ length: 101 }, () => 1) }],
  ['batch_sizes[1]', { batchSizes: [1, 0] }],
  ['batch_sizes[0]', { batchSizes: [-1] }],
  ['batch_sizes[0]', { batchSizes: [1_000_000_000] }],
  ['batch_sizes[2]', { batchSizes: [1, 1, 1_001] }],
  ['batch_sizes', { batchSizes: [...Array.from({ length: 10 }, () => 1_000), 1] }],
  ['key_reuse', { batchSizes: [1], keyReuse: 9 as KeyReuse }],
  ['lease_ttl', { batchSizes: [1], leaseTtl: { seconds: 0n, nanos: 500_000_000 } }],
  ['max_wait', { batchSizes: [1], maxWait: { seconds: -1n, nanos: 0 } }],
  ['model', { batchSizes: [1], model: 'no model' }],
  ['request_id', { batchSizes: [1], requestId: '\n' }],
])('a wrong %s is refused and leases nothing, case %#', async (field, request) => {
  const service = await withKeys(2);
  expect(await refusalOf(run(service, request))).toMatchObject({ reason: 'INVALID_FIELD', field });
  expect((await service.context.store.stats({ pools: [], includeModels: false })).total.usage.acquired).toBe(0);
});

test('10,000 leases together are given', async () => {
  const service = await withKeys(20);
  const response = await run(service, { batchSizes: Array.from({ length: 10 }, () => 1_000) });
  expect(response.batches.every(({ leases }) => leases.length === 1_000)).toBe(true);
});

test('key reuse: as it comes, not twice in a batch, or not twice in the answer', async () => {
  const service = await withKeys(4);
  const distinct = (ids: string[]): number => new Set(ids).size;
  const [any] = keyIds(await run(service, { batchSizes: [9] }));
  expect(distinct(any!)).toBe(4);
  const inBatch = keyIds(await run(service, { batchSizes: [4, 3], keyReuse: KeyReuse.UNIQUE_IN_BATCH }));
  expect(inBatch.map(distinct)).toEqual([4, 3]);
  const unique = keyIds(await run(service, { batchSizes: [3, 1], keyReuse: KeyReuse.UNIQUE })).flat();
  expect(distinct(unique)).toBe(4);
  const tooMany = run(service, { batchSizes: [3, 2], keyReuse: KeyReuse.UNIQUE });
  await expect(tooMany).rejects.toMatchObject({ name: 'BalancerError' });
});

test('without allow_partial it is all or nothing, with it batches may be short', async () => {
  const service = await withKeys(3);
  const request = { batchSizes: [2, 3], keyReuse: KeyReuse.UNIQUE };
  await expect(run(service, request)).rejects.toMatchObject({ name: 'BalancerError' });
  const { total } = await service.context.store.stats({ pools: [], includeModels: false });
  expect(total.activeLeases).toBe(0);
  const partial = await run(service, { ...request, allowPartial: true });
  expect(partial.batches.map(({ requestedSize }) => requestedSize)).toEqual([2, 3]);
  expect(keyIds(partial).flat()).toHaveLength(3);
});

test('a repeat by request_id gets the same leases; max_wait is no part of the content, all else is', async () => {
  const service = await withKeys(5);
  const request: Request = { batchSizes: [2, 3], requestId: 'r-1' };
  const first = await run(service, request);
  expect(first.replayed).toBe(false);
  const again = await run(service, { ...request, maxWait: { seconds: 5n, nanos: 0 } });
  const named = ({ batches }: BatchGetKeysResponse) =>
    batches.map(({ leases }) => leases.map(({ leaseId, keyId, apiKey }) => ({ leaseId, keyId, apiKey })));
  expect(named(again)).toEqual(named(first));
  expect(again.replayed).toBe(true);
  const others = [
    { ...request, batchSizes: [3, 2] },
    { ...request, model: 'm' },
    { ...request, allowPartial: true },
  ];
  for (const other of others) {
    expect(await refusalOf(run(service, other))).toMatchObject({ reason: 'REQUEST_ID_REUSED' });
  }
  await service.context.store.renew({
    caller: 'local',
    leaseId: first.batches[1]!.leases[0]!.leaseId,
    leaseTtlMs: 300_000,
  });
  expect(named(await run(service, request))).toEqual(named(first));
  await service.context.store.report(report(first.batches[0]!.leases[0]!.leaseId));
  expect(await refusalOf(run(service, request))).toMatchObject({ reason: 'LEASE_EXPIRED' });
});

test('a batch waits until its keys are free, and takes none when its caller goes away', async () => {
  const service = await withKeys(2);
  const { store } = service.context;
  await store.updatePool({ pool: 'default', etag: '', change: { maxConcurrentLeases: 1 } });
  const held = await store.acquire(acquireOrder());
  const gone = new AbortController();
  const request: Request = { batchSizes: [2], maxWait: { seconds: 60n, nanos: 0 } };
  const abandoned = run({ ...service, call: callOf({ signal: gone.signal }) }, request);
  const refusal = refusalOf(abandoned);
  await expect.poll(async () => (await store.stats({ pools: [], includeModels: false })).total.waitingAcquires).toBe(1);
  gone.abort();
  expect(await refusal).toMatchObject({ reason: 'OPERATION_CANCELLED' });
  const waiting = run(service, request);
  await store.report(report(held.leaseId));
  expect(keyIds(await waiting)[0]).toHaveLength(2);
});

test('an unknown pool is POOL_NOT_FOUND', async () => {
  const service = await withKeys(1);
  expect(await refusalOf(run(service, { pool: 'nowhere', batchSizes: [1] }))).toMatchObject({
    reason: 'POOL_NOT_FOUND',
  });
});

function ttl(seconds: number): NonNullable<Request['leaseTtl']> {
  return { seconds: BigInt(seconds), nanos: 0 };
}
