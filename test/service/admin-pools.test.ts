import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import {
  CreatePoolRequestSchema,
  DeletePoolRequestSchema,
  HealthEventKind,
  ListPoolsRequestSchema,
  type Pool,
  Selection,
  UpdatePoolRequestSchema,
} from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import type { HealthChange } from '../../src/store/store.ts';
import { acquireOrder, createKeyOrder, importOrder } from '../support/orders.ts';
import { callOf, openService, refusalOf, type TestService } from '../support/service.ts';
import { tempDir } from '../support/temp-dir.ts';

type NewPool = NonNullable<MessageInitShape<typeof CreatePoolRequestSchema>['pool']>;

async function add({ admin, call }: TestService, pool: NewPool, requestId = ''): Promise<Pool> {
  return (await admin.createPool(create(CreatePoolRequestSchema, { pool, requestId }), call)).pool!;
}

async function update({ admin, call }: TestService, pool: NewPool, paths: string[] = []): Promise<Pool> {
  const request = create(UpdatePoolRequestSchema, { pool, updateMask: { paths } });
  return (await admin.updatePool(request, call)).pool!;
}

async function list({ admin, call }: TestService, request: MessageInitShape<typeof ListPoolsRequestSchema> = {}) {
  return admin.listPools(create(ListPoolsRequestSchema, request), call);
}

function remove({ admin, call }: TestService, pool: string, etag = '') {
  return admin.deletePool(create(DeletePoolRequestSchema, { pool, etag }), call);
}

const seconds = (count: number) => ({ seconds: BigInt(count), nanos: 0 });

test('pool "default" is there from the start, with its defaults', async () => {
  const service = await openService();
  const { pools, nextPageToken } = await list(service);
  expect(nextPageToken).toBe('');
  expect(pools).toMatchObject([
    {
      pool: 'default',
      defaultLeaseTtl: seconds(120),
      maxLeaseTtl: seconds(3600),
      maxConcurrentLeases: 0,
      maxTotalLeases: 0,
      maxWaiting: 10_000,
      autoSuccess: false,
      selection: Selection.WEIGHTED_LRU,
      stats: { pool: 'default', totalKeys: 0n },
    },
  ]);
});

test('a new pool has what was said, and for the rest what "default" has', async () => {
  const service = await openService();
  const plain = await add(service, { pool: 'plain' });
  expect(plain).toMatchObject({ defaultLeaseTtl: seconds(120), maxLeaseTtl: seconds(3600), maxWaiting: 10_000 });
  const settings = {
    pool: 'a-2',
    defaultLeaseTtl: seconds(1),
    maxLeaseTtl: seconds(60),
    maxConcurrentLeases: 4,
    maxTotalLeases: 40,
    maxWaiting: 7,
    description: 'for batch jobs',
    autoSuccess: true,
  };
  expect(await add(service, settings)).toMatchObject(settings);
  const { pools } = await list(service);
  expect(pools.map(({ pool }) => pool)).toEqual(['a-2', 'default', 'plain']);
  expect(pools[0]).toMatchObject(settings);
});

test('a short maximum brings a default TTL that fits under it', async () => {
  const service = await openService();
  expect(await add(service, { pool: 'p', maxLeaseTtl: seconds(60) })).toMatchObject({ defaultLeaseTtl: seconds(60) });
});

test.each<[string, NewPool]>([
  ['pool.pool', { pool: '' }],
  ['pool.pool', { pool: 'Upper' }],
  ['pool.pool', { pool: '1st' }],
  ['pool.pool', { pool: 'a'.repeat(64) }],
  ['pool.pool', { pool: 'a b' }],
  ['pool.default_lease_ttl', { defaultLeaseTtl: seconds(0) }],
  ['pool.default_lease_ttl', { defaultLeaseTtl: seconds(-1) }],
  ['pool.default_lease_ttl', { defaultLeaseTtl: { seconds: 0n, nanos: 999_999_999 } }],
  ['pool.default_lease_ttl', { defaultLeaseTtl: seconds(61), maxLeaseTtl: seconds(60) }],
  ['pool.max_lease_ttl', { maxLeaseTtl: seconds(3601) }],
  ['pool.max_lease_ttl', { maxLeaseTtl: { seconds: 2n, nanos: -1 } }],
  ['pool.max_concurrent_leases', { maxConcurrentLeases: -1 }],
  ['pool.max_total_leases', { maxTotalLeases: -1 }],
  ['pool.max_waiting', { maxWaiting: -1 }],
  ['pool.max_waiting', { maxWaiting: 1_000_000_000 }],
  ['pool.description', { description: 'x'.repeat(1025) }],
  ['pool.selection', { selection: 9 as Selection }],
])('CreatePool refuses a wrong %s, case %#', async (field, settings) => {
  const service = await openService();
  expect(await refusalOf(add(service, { pool: 'p', ...settings }))).toMatchObject({ reason: 'INVALID_FIELD', field });
  expect((await list(service)).pools).toHaveLength(1);
});

test('a pool can be told to stay with a project until it is spent, and back', async () => {
  const service = await openService();
  const pool = await update(service, { pool: 'default', selection: Selection.UNTIL_SPENT });
  expect(pool).toMatchObject({ selection: Selection.UNTIL_SPENT });
  const back = await update(service, { pool: 'default' }, ['selection']);
  expect(back).toMatchObject({ selection: Selection.WEIGHTED_LRU });
});

test('a pool that is there already is ALREADY_EXISTS', async () => {
  const service = await openService();
  expect(await refusalOf(add(service, { pool: 'default' }))).toMatchObject({ reason: 'KEY_ALREADY_EXISTS' });
});

test('a repeated CreatePool gets the first answer, whatever became of the pool since; other content is refused', async () => {
  const dataDir = tempDir();
  const first = await openService({ dataDir });
  const answer = await add(first, { pool: 'p', maxWaiting: 3 }, 'r-1');
  await update(first, { pool: 'p', maxWaiting: 4 });
  expect(await add(first, { pool: 'p', maxWaiting: 3 }, 'r-1')).toEqual(answer);
  await remove(first, 'p');
  await first.close();
  const second = await openService({ dataDir });
  expect(await add(second, { pool: 'p', maxWaiting: 3 }, 'r-1')).toEqual(answer);
  expect(await refusalOf(add(second, { pool: 'p' }, 'r-1'))).toMatchObject({ reason: 'REQUEST_ID_REUSED' });
  const stranger = { ...second, call: callOf({ caller: 'other' }) };
  await add(stranger, { pool: 'p' }, 'r-1');
});

test('an update without a mask changes what is set; with one, what it names, set or not', async () => {
  const service = await openService();
  await add(service, { pool: 'p', maxConcurrentLeases: 2, maxWaiting: 3, description: 'd', autoSuccess: true });
  expect(await update(service, { pool: 'p', maxTotalLeases: 9 })).toMatchObject({
    maxTotalLeases: 9,
    maxConcurrentLeases: 2,
    maxWaiting: 3,
    description: 'd',
    autoSuccess: true,
  });
  const paths = ['max_concurrent_leases', 'max_waiting', 'description', 'auto_success', 'default_lease_ttl'];
  expect(await update(service, { pool: 'p', defaultLeaseTtl: seconds(5) }, paths)).toMatchObject({
    maxTotalLeases: 9,
    maxConcurrentLeases: 0,
    maxWaiting: 0,
    description: '',
    autoSuccess: false,
    defaultLeaseTtl: seconds(5),
  });
  expect(await update(service, { pool: 'p' }, ['default_lease_ttl'])).toMatchObject({ defaultLeaseTtl: seconds(120) });
});

test('a whole pool that was read, changed and sent back changes just that', async () => {
  const service = await openService();
  const [pool] = (await list(service)).pools;
  const changed = await update(service, { ...pool!, description: 'new' });
  expect(changed).toEqual({ ...pool, description: 'new', etag: changed.etag });
  const paths = ['pool', 'stats', 'stats.usage', 'etag', 'description'];
  expect(await update(service, { pool: 'default', description: 'x' }, paths)).toMatchObject({ description: 'x' });
});

test('an update_mask with an unknown path, an unknown pool, no pool and a default above the maximum are refused', async () => {
  const service = await openService();
  const refusal = await refusalOf(update(service, { pool: 'default' }, ['size']));
  expect(refusal).toMatchObject({ reason: 'INVALID_FIELD', field: 'update_mask' });
  expect(refusal.message).toContain('"size"');
  expect(await refusalOf(update(service, { pool: 'nowhere', maxWaiting: 1 }))).toMatchObject({
    reason: 'POOL_NOT_FOUND',
  });
  const absent = service.admin.updatePool(create(UpdatePoolRequestSchema), service.call);
  expect(await refusalOf(absent)).toMatchObject({ reason: 'INVALID_FIELD', field: 'pool' });
  const tooShort = update(service, { pool: 'default', maxLeaseTtl: seconds(60) });
  expect(await refusalOf(tooShort)).toMatchObject({ field: 'pool.default_lease_ttl' });
});

test('an etag guards updates and deletions', async () => {
  const service = await openService();
  const { etag } = await add(service, { pool: 'p' });
  const changed = await update(service, { pool: 'p', etag, maxWaiting: 1 });
  expect(await refusalOf(update(service, { pool: 'p', etag, maxWaiting: 2 }))).toMatchObject({
    reason: 'ETAG_MISMATCH',
  });
  expect(await refusalOf(remove(service, 'p', etag))).toMatchObject({ reason: 'ETAG_MISMATCH' });
  await remove(service, 'p', changed.etag);
});

test('a lower cap of leases a key holds at once', async () => {
  const service = await openService();
  const { store } = service.context;
  await store.importKeys(importOrder(['AQ.test-key-000001']));
  await store.acquire(acquireOrder());
  await update(service, { pool: 'default', maxConcurrentLeases: 1 });
  await expect(store.acquire(acquireOrder())).rejects.toMatchObject({ reason: 'NO_KEY_AVAILABLE' });
  const waiting = store.acquire(acquireOrder({ maxWaitMs: 60_000 }));
  await update(service, { pool: 'default', maxConcurrentLeases: 2 });
  expect((await waiting).keyId).toBe('key-00000001');
});

test('watchers are told of a changed pool, with a number above all earlier ones', async () => {
  const service = await openService();
  const changes: HealthChange[] = [];
  service.context.store.subscribe((news) => changes.push(...news));
  await service.context.store.createKey(createKeyOrder('AQ.test-key-000001'));
  await update(service, { pool: 'default', maxWaiting: 1 });
  await update(service, { pool: 'default', maxWaiting: 2 });
  const ofPool = changes.filter(({ kind }) => kind === HealthEventKind.POOL_CHANGED);
  expect(ofPool.map(({ pool }) => pool)).toEqual(['default', 'default']);
  const revisions = changes.map(({ revision }) => revision);
  expect(revisions).toEqual([...revisions].sort((a, b) => a - b));
  expect((await service.context.store.position()).revision).toBe(revisions.at(-1));
});

test('only an empty pool that is not "default" can be deleted', async () => {
  const service = await openService();
  const { store } = service.context;
  await add(service, { pool: 'p' });
  const { keyId } = await store.createKey({ ...createKeyOrder('AQ.test-key-000001'), pool: 'p' });
  const refusal = await refusalOf(remove(service, 'p'));
  expect(refusal).toMatchObject({ reason: 'POOL_NOT_EMPTY' });
  expect(refusal.message).toContain('1 key');
  await store.deleteKey({ keyId, etag: '', allowMissing: false });
  await remove(service, 'p');
  expect((await list(service)).pools.map(({ pool }) => pool)).toEqual(['default']);
  expect(await refusalOf(remove(service, 'p'))).toMatchObject({ reason: 'POOL_NOT_FOUND' });
  for (const name of ['default', '']) {
    expect(await refusalOf(remove(service, name))).toMatchObject({ reason: 'INVALID_FIELD', field: 'pool' });
  }
});

test('a pool made again under the name of a deleted one starts from nothing, also after a restart', async () => {
  const dataDir = tempDir();
  const first = await openService({ dataDir });
  const { store } = first.context;
  await add(first, { pool: 'p' });
  const { keyId } = await store.createKey({ ...createKeyOrder('AQ.test-key-000001'), pool: 'p' });
  await store.acquire(acquireOrder({ pool: 'p' }));
  await store.deleteKey({ keyId, etag: '', allowMissing: false });
  const removal = remove(first, 'p');
  // Refused while the removal is being stored: counted for a pool that is about to go.
  await new Promise((resolve) => setImmediate(resolve));
  await store.acquire(acquireOrder({ pool: 'p' })).catch(() => {});
  await removal;
  await add(first, { pool: 'p' });
  const nothing = { usage: { acquired: 0n, released: 0n }, acquiresRejected: 0n };
  const named = async (service: TestService) => (await list(service)).pools.find(({ pool }) => pool === 'p')!.stats;
  expect(await named(first)).toMatchObject({ ...nothing, acquireLatency: { count: 0n } });
  await first.close();
  expect(await named(await openService({ dataDir }))).toMatchObject(nothing);
});

test('pools come in pages in the order of their names', async () => {
  const service = await openService();
  for (const pool of ['b', 'a', 'e']) await add(service, { pool });
  const first = await list(service, { pageSize: 2 });
  expect(first.pools.map(({ pool }) => pool)).toEqual(['a', 'b']);
  const second = await list(service, { pageSize: 2, pageToken: first.nextPageToken });
  expect(second.pools.map(({ pool }) => pool)).toEqual(['default', 'e']);
  expect(second.nextPageToken).toBe('');
  expect(await refusalOf(list(service, { pageToken: 'a' }))).toMatchObject({ field: 'page_token' });
  expect(await refusalOf(list(service, { pageSize: -5 }))).toMatchObject({ field: 'page_size' });
});
