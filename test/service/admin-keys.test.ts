import { create, type MessageInitShape, toJsonString } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { plainFinding } from '../../src/gemini/finding.ts';
import {
  CreateKeyRequestSchema,
  CreatePoolRequestSchema,
  DeleteKeyRequestSchema,
  ErrorClass,
  GetKeyRequestSchema,
  GetStatsRequestSchema,
  type Key,
  KeySchema,
  KeyState,
  ListKeysRequestSchema,
  Outcome,
  type PoolStats,
  ResetKeyRequestSchema,
  UpdateKeyRequestSchema,
} from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { getStats } from '../../src/server/service/get-stats.ts';
import { acquireOrder, apiKeys, importOrder, report } from '../support/orders.ts';
import { movedClock, openService, refusalOf, type TestService } from '../support/service.ts';
import { tempDir } from '../support/temp-dir.ts';

type NewKey = MessageInitShape<typeof CreateKeyRequestSchema>;
type Update = MessageInitShape<typeof UpdateKeyRequestSchema>;

async function add({ admin, call }: TestService, request: NewKey = {}): Promise<Key> {
  const whole = create(CreateKeyRequestSchema, { apiKey: 'AQ.test-key-000001', ...request });
  return (await admin.createKey(whole, call)).key!;
}

async function update({ admin, call }: TestService, request: Update): Promise<Key> {
  return (await admin.updateKey(create(UpdateKeyRequestSchema, request), call)).key!;
}

async function get({ admin, call }: TestService, keyId: string): Promise<Key> {
  return (await admin.getKey(create(GetKeyRequestSchema, { keyId }), call)).key!;
}

async function list({ admin, call }: TestService, request: MessageInitShape<typeof ListKeysRequestSchema> = {}) {
  return admin.listKeys(create(ListKeysRequestSchema, request), call);
}

function remove({ admin, call }: TestService, request: MessageInitShape<typeof DeleteKeyRequestSchema>) {
  return admin.deleteKey(create(DeleteKeyRequestSchema, request), call);
}

async function total({ context, call }: TestService): Promise<PoolStats> {
  return (await getStats(context, create(GetStatsRequestSchema), call)).total!;
}

/** A 429 on the key's next lease. */
async function rateLimit({ context: { store } }: TestService, keyId: string, model = ''): Promise<void> {
  const { leaseId } = await store.acquire(acquireOrder({ requireKeyId: keyId, model }));
  const finding = plainFinding(ErrorClass.RATE_LIMITED_MINUTE, model === '' ? 'project' : 'project-model', 30_000);
  await store.report(report(leaseId, { outcome: Outcome.FAILURE, finding }));
}

test('a new key has what was said and defaults for the rest, and shows no secret', async () => {
  const service = await openService();
  const plain = await add(service);
  expect(plain).toMatchObject({
    keyId: 'key-00000001',
    pool: 'default',
    weight: 1,
    tier: 0,
    disabled: false,
    models: [],
  });
  expect(plain.maxConcurrentLeases).toBeUndefined();
  expect(plain.health).toMatchObject({ state: KeyState.AVAILABLE, effectiveWeight: 1 });
  const key = await add(service, {
    apiKey: 'AQ.test-key-000002',
    key: {
      keyId: 'key-00000077',
      weight: 0.001,
      project: 'p',
      maxConcurrentLeases: 0,
      models: ['models/gemini-2.5-pro'],
      source: 's',
      labels: { a: 'b' },
      tier: 9,
      disabled: true,
    },
  });
  expect(key).toMatchObject({ keyId: 'key-00000002', weight: 0.001, project: 'p', maxConcurrentLeases: 0, tier: 9 });
  expect(key).toMatchObject({ models: ['gemini-2.5-pro'], source: 's', labels: { a: 'b' }, disabled: true });
  expect(key.health!.state).toBe(KeyState.DISABLED_ADMIN);
  expect(await get(service, key.keyId)).toEqual(key);
  expect(toJsonString(KeySchema, key)).not.toContain('test-key');
});

test.each<[string, NewKey]>([
  ['api_key', { apiKey: '' }],
  ['api_key', { apiKey: 'AQ.with space' }],
  ['key.weight', { key: { weight: 0 } }],
  ['key.weight', { key: { weight: Number.NaN } }],
  ['key.weight', { key: { weight: Number.POSITIVE_INFINITY } }],
  ['key.max_concurrent_leases', { key: { maxConcurrentLeases: -1 } }],
  ['key.tier', { key: { tier: 10 } }],
  ['key.models[0]', { key: { models: [''] } }],
  ['key.source', { key: { source: 'x'.repeat(129) } }],
  ['key.project', { key: { project: 'a\0b' } }],
  ['request_id', { requestId: 'x'.repeat(65) }],
  ['request_id', { requestId: 'zwölf' }],
])('CreateKey refuses a wrong %s, case %#', async (field, request) => {
  const service = await openService();
  expect(await refusalOf(add(service, request))).toMatchObject({ reason: 'INVALID_FIELD', field });
  expect((await list(service)).totalSize).toBe(0n);
});

test('a key that is there already is refused, in whatever pool it is', async () => {
  const service = await openService();
  await service.admin.createPool(create(CreatePoolRequestSchema, { pool: { pool: 'other' } }), service.call);
  await add(service);
  const refusal = await refusalOf(add(service, { key: { pool: 'other' } }));
  expect(refusal.reason).toBe('KEY_ALREADY_EXISTS');
  expect(refusal.message).toContain('key-00000001');
  expect(refusal.message).not.toContain('AQ.');
  expect(await refusalOf(add(service, { key: { pool: 'nowhere' } }))).toMatchObject({ reason: 'POOL_NOT_FOUND' });
});

test('a repeated CreateKey gets the first answer, whatever became of the key since', async () => {
  const dataDir = tempDir();
  const first = await openService({ dataDir });
  const requestFor = (key: NewKey['key']) =>
    create(CreateKeyRequestSchema, { apiKey: 'AQ.test-key-000001', requestId: 'r-1', ...(key && { key }) });
  const request = requestFor({ weight: 2, labels: { a: '1', b: '2' } });
  const answer = await first.admin.createKey(request, first.call);
  expect(answer.replayed).toBe(false);
  await update(first, { key: { keyId: 'key-00000001', weight: 3 } });
  const reordered = requestFor({ weight: 2, labels: { b: '2', a: '1' } });
  expect(await first.admin.createKey(reordered, first.call)).toEqual({ ...answer, replayed: true });
  await remove(first, { keyId: 'key-00000001' });
  await first.close();
  const second = await openService({ dataDir });
  expect(await second.admin.createKey(request, second.call)).toEqual({ ...answer, replayed: true });
  expect((await list(second)).totalSize).toBe(0n);
  const other = requestFor({ weight: 3 });
  expect(await refusalOf(second.admin.createKey(other, second.call))).toMatchObject({ reason: 'REQUEST_ID_REUSED' });
});

test('a repeated UpdateKey gets the first answer and changes nothing', async () => {
  const service = await openService();
  const { keyId } = await add(service);
  const request = create(UpdateKeyRequestSchema, { key: { keyId, weight: 2 }, requestId: 'r-1' });
  const answer = await service.admin.updateKey(request, service.call);
  await update(service, { key: { keyId, weight: 3 } });
  expect(await service.admin.updateKey(request, service.call)).toEqual({ ...answer, replayed: true });
  expect((await get(service, keyId)).weight).toBe(3);
  const other = create(UpdateKeyRequestSchema, { ...request, newApiKey: 'AQ.test-key-000009' });
  expect(await refusalOf(service.admin.updateKey(other, service.call))).toMatchObject({ reason: 'REQUEST_ID_REUSED' });
});

test('an update without a mask changes what is set; with one, what it names, set or not', async () => {
  const service = await openService();
  const settings = { weight: 2, project: 'p', maxConcurrentLeases: 3, models: ['m'], source: 's', labels: { a: 'b' } };
  const { keyId } = await add(service, { key: { ...settings, tier: 1, disabled: true } });
  expect(await update(service, { key: { keyId, weight: 4 } })).toMatchObject({ ...settings, weight: 4, tier: 1 });
  const paths = ['weight', 'project', 'max_concurrent_leases', 'models', 'source', 'labels', 'tier', 'disabled'];
  const cleared = await update(service, { key: { keyId }, updateMask: { paths } });
  expect(cleared).toMatchObject({
    weight: 1,
    project: '',
    models: [],
    source: '',
    labels: {},
    tier: 0,
    disabled: false,
  });
  expect(cleared.maxConcurrentLeases).toBeUndefined();
});

test('a whole key that was read, changed and sent back changes just that; output-only fields are passed over', async () => {
  const service = await openService();
  const { keyId } = await add(service, { key: { weight: 2 } });
  const key = await get(service, keyId);
  const changed = await update(service, { key: { ...key, source: 'new', redactedKey: 'x', fingerprint: 'y' } });
  expect(changed).toMatchObject({
    source: 'new',
    weight: 2,
    redactedKey: key.redactedKey,
    fingerprint: key.fingerprint,
  });
  const paths = [
    'key_id',
    'redacted_key',
    'fingerprint',
    'health',
    'health.state',
    'usage',
    'create_time',
    'etag',
    'tier',
  ];
  const masked = await update(service, { key: { ...changed, tier: 5 }, updateMask: { paths } });
  expect(masked).toMatchObject({ tier: 5, source: 'new' });
});

test.each(['colour', 'labels.team', 'Weight', '*', '', 'weight.', 'api_key'])(
  'an update_mask with the unknown path "%s" is refused',
  async (path) => {
    const service = await openService();
    const { keyId, etag } = await add(service);
    const refusal = await refusalOf(
      update(service, { key: { keyId, weight: 2 }, updateMask: { paths: ['weight', path] } }),
    );
    expect(refusal).toMatchObject({ reason: 'INVALID_FIELD', field: 'update_mask' });
    expect(refusal.message).toContain(JSON.stringify(path));
    expect((await get(service, keyId)).etag).toBe(etag);
  },
);

test('a key cannot change its pool, but its own pool may be named', async () => {
  const service = await openService();
  const { keyId } = await add(service);
  expect(await refusalOf(update(service, { key: { keyId, pool: 'other' } }))).toMatchObject({ field: 'key.pool' });
  const masked = update(service, { key: { keyId, pool: 'other' }, updateMask: { paths: ['pool'] } });
  expect(await refusalOf(masked)).toMatchObject({ field: 'key.pool' });
  expect(await update(service, { key: { keyId, pool: 'default', weight: 2 } })).toMatchObject({ weight: 2 });
});

test('an etag guards updates and deletions', async () => {
  const service = await openService();
  const { keyId, etag } = await add(service);
  const changed = await update(service, { key: { keyId, etag, weight: 2 } });
  expect(changed.etag).not.toBe(etag);
  expect(await refusalOf(update(service, { key: { keyId, etag, weight: 3 } }))).toMatchObject({
    reason: 'ETAG_MISMATCH',
  });
  expect(await refusalOf(remove(service, { keyId, etag }))).toMatchObject({ reason: 'ETAG_MISMATCH' });
  expect(await get(service, keyId)).toEqual(changed);
  await remove(service, { keyId, etag: changed.etag });
});

test('of two updates with one etag at once, one wins', async () => {
  const service = await openService();
  const { keyId, etag } = await add(service);
  const both = [2, 3].map((weight) => update(service, { key: { keyId, etag, weight } }));
  const ends = await Promise.allSettled(both);
  expect(ends.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
});

test('a rotation replaces the secret, clears the health of the key and leaves its project resting', async () => {
  const service = await openService({ clock: movedClock() });
  const { keyId, fingerprint } = await add(service, { key: { project: 'p' } });
  await add(service, { apiKey: 'AQ.test-key-000002', key: { project: 'p' } });
  await rateLimit(service, keyId, 'gemini-2.5-pro');
  const rotated = await update(service, { key: { keyId }, newApiKey: 'AQ.test-key-000003' });
  expect(rotated.fingerprint).not.toBe(fingerprint);
  expect(rotated.health).toMatchObject({ consecutiveFailures: 0, lastErrorClass: ErrorClass.UNSPECIFIED });
  expect(rotated.health!.cooldowns).toMatchObject([{ model: 'gemini-2.5-pro', projectWide: true }]);
  expect(await get(service, keyId)).toEqual(rotated);
  const grant = await service.context.store.acquire(acquireOrder({ requireKeyId: keyId }));
  expect(grant.apiKey).toBe('AQ.test-key-000003');
  // The old secret is free again, the new one is not.
  expect(await add(service)).toMatchObject({ keyId: 'key-00000003' });
  const taken = update(service, { key: { keyId: 'key-00000002' }, newApiKey: 'AQ.test-key-000003' });
  expect(await refusalOf(taken)).toMatchObject({ reason: 'KEY_ALREADY_EXISTS' });
  const malformed = update(service, { key: { keyId }, newApiKey: 'AQ.new\nkey' });
  expect(await refusalOf(malformed)).toMatchObject({ field: 'new_api_key' });
});

test('a reset ends the cooldowns of the key and its project, and its failure count', async () => {
  const service = await openService();
  const { keyId } = await add(service, { key: { project: 'p' } });
  await rateLimit(service, keyId);
  expect((await get(service, keyId)).health!.state).toBe(KeyState.COOLING);
  const { key } = await service.admin.resetKey(create(ResetKeyRequestSchema, { keyId }), service.call);
  expect(key!.health).toMatchObject({ state: KeyState.AVAILABLE, cooldowns: [], consecutiveFailures: 0 });
  await service.context.store.acquire(acquireOrder({ requireKeyId: keyId }));
});

test('a key that is none is KEY_NOT_FOUND everywhere; what may be a secret in the wrong field is not repeated', async () => {
  const service = await openService();
  const { admin, call } = service;
  for (const keyId of ['key-00000099', 'AQ.test-key-000001', 'key-1', 'x'.repeat(10_000)]) {
    const calls = [
      get(service, keyId),
      update(service, { key: { keyId, weight: 2 } }),
      remove(service, { keyId }),
      admin.resetKey(create(ResetKeyRequestSchema, { keyId }), call),
    ];
    for (const each of calls) {
      const refusal = await refusalOf(each);
      expect(refusal.reason).toBe('KEY_NOT_FOUND');
      expect(refusal.message).not.toContain('AQ.');
      expect(refusal.message.length).toBeLessThan(200);
    }
  }
  expect(await refusalOf(get(service, ''))).toMatchObject({ reason: 'INVALID_FIELD', field: 'key_id' });
  expect(await refusalOf(update(service, {}))).toMatchObject({ reason: 'INVALID_FIELD', field: 'key' });
});

test('allow_missing makes a missing key no error, also one whose id is malformed or that goes at the same time', async () => {
  const service = await openService();
  const { keyId } = await add(service);
  await remove(service, { keyId: 'key-00000099', allowMissing: true });
  await remove(service, { keyId: 'nonsense', allowMissing: true });
  await Promise.all([remove(service, { keyId, allowMissing: true }), remove(service, { keyId, allowMissing: true })]);
  await remove(service, { keyId, allowMissing: true, etag: 'v1' });
  expect((await list(service)).totalSize).toBe(0n);
});

test('the leases of a deleted key end as released, and its counts stay in its pool', async () => {
  const dataDir = tempDir();
  const service = await openService({ dataDir });
  const { store } = service.context;
  const { keyId } = await add(service);
  await store.report(report((await store.acquire(acquireOrder())).leaseId, { inputTokens: 7 }));
  const open = await store.acquire(acquireOrder({ model: 'gemini-2.5-pro' }));
  const kept = await store.acquire(acquireOrder());
  const idempotency = { caller: 'local', method: 'ReportResult', requestId: 'r', contentHash: 'h' };
  await store.report(report(kept.leaseId, { keepLease: true, idempotency }));
  await remove(service, { keyId });
  const after = await total(service);
  expect(after).toMatchObject({ totalKeys: 0n, activeLeases: 0n });
  expect(after.usage).toMatchObject({ acquired: 3n, succeeded: 2n, released: 1n, calls: 2n });
  expect(after.usage!.tokens!.inputTokens).toBe(7n);
  await expect(store.report(report(open.leaseId))).rejects.toMatchObject({ reason: 'LEASE_NOT_FOUND' });
  await service.close();
  const again = await openService({ dataDir });
  expect((await total(again)).usage).toEqual(after.usage);
});

test('the id of a deleted key is never given again, not after a restart either', async () => {
  const dataDir = tempDir();
  const first = await openService({ dataDir });
  const { keyId } = await add(first);
  await remove(first, { keyId });
  await first.close();
  const second = await openService({ dataDir });
  expect((await add(second)).keyId).toBe('key-00000002');
});

test('the sum of usage closes for keys, pools and in all, whatever becomes of the leases', async () => {
  const clock = movedClock();
  const service = await openService({ clock });
  const { store } = service.context;
  await store.importKeys(importOrder(apiKeys(3)));
  const lease = async (): Promise<string> => (await store.acquire(acquireOrder({ leaseTtlMs: 60_000 }))).leaseId;
  await store.report(report(await lease()));
  await store.report(report(await lease(), { outcome: Outcome.UNUSED }));
  await rateLimit(service, 'key-00000003');
  const late = await lease();
  await lease();
  clock.move(61_000);
  await store.report(report(late));
  await lease();
  const { leaseRef } = (await store.listLeases({ pool: '', keyId: '', after: '', limit: 1 })).items[0]!;
  await store.revokeLease(leaseRef);
  await lease();
  const stats = await getStats(service.context, create(GetStatsRequestSchema), service.call);
  const sums = [
    ...(await list(service)).keys.map(({ usage, health }) => ({ usage: usage!, active: BigInt(health!.activeLeases) })),
    ...[stats.total!, ...stats.pools].map(({ usage, activeLeases }) => ({ usage: usage!, active: activeLeases })),
  ];
  for (const { usage, active } of sums) {
    const ended = usage.succeeded + usage.failed + usage.expired + usage.unused + usage.released;
    expect(usage.acquired).toBe(active + ended);
  }
  const expected = { acquired: 7n, succeeded: 2n, failed: 1n, unused: 1n, expired: 1n, released: 1n, late: 1n };
  expect(stats.total).toMatchObject({ activeLeases: 1n, usage: expected });
});

test('keys are listed by pool, state, project, source and labels, with how many there are', async () => {
  const service = await openService();
  await service.admin.createPool(create(CreatePoolRequestSchema, { pool: { pool: 'other' } }), service.call);
  const settings = [
    { project: 'p', source: 'a', labels: { team: 'x', env: 'prod' } },
    { project: 'p', source: 'b', labels: { team: 'x' }, disabled: true },
    { pool: 'other', project: 'p', source: 'a' },
    { source: 'a', labels: { team: 'y' } },
  ];
  for (const [index, key] of settings.entries()) await add(service, { apiKey: `AQ.test-key-${index}`, key });
  const ids = async (request: MessageInitShape<typeof ListKeysRequestSchema>) => {
    const { keys, totalSize } = await list(service, request);
    expect(totalSize).toBe(BigInt(keys.length));
    return keys.map(({ keyId }) => Number(keyId.slice(4)));
  };
  expect(await ids({})).toEqual([1, 2, 3, 4]);
  expect(await ids({ pool: 'default' })).toEqual([1, 2, 4]);
  expect(await ids({ pool: 'other' })).toEqual([3]);
  expect(await ids({ project: 'p' })).toEqual([1, 2, 3]);
  expect(await ids({ project: 'p', pool: 'default', source: 'a' })).toEqual([1]);
  expect(await ids({ source: 'a' })).toEqual([1, 3, 4]);
  expect(await ids({ labels: { team: 'x' } })).toEqual([1, 2]);
  expect(await ids({ labels: { team: 'x', env: 'prod' } })).toEqual([1]);
  expect(await ids({ states: [KeyState.DISABLED_ADMIN, KeyState.COOLING] })).toEqual([2]);
  expect(await ids({ project: 'nobody' })).toEqual([]);
  expect(await refusalOf(list(service, { pool: 'nowhere' }))).toMatchObject({ reason: 'POOL_NOT_FOUND' });
  for (const state of [0, 17] as KeyState[]) {
    expect(await refusalOf(list(service, { states: [KeyState.COOLING, state] }))).toMatchObject({ field: 'states[1]' });
  }
});

test.each<[string, MessageInitShape<typeof ListKeysRequestSchema>]>([
  ['without a filter', {}],
  ['with one', { source: 'test' }],
])('a list %s comes in pages that miss nothing and repeat nothing, while keys come and go', async (_, filters) => {
  const service = await openService();
  await service.context.store.importKeys(importOrder(apiKeys(130)));
  const first = await list(service, filters);
  expect(first.keys).toHaveLength(50);
  expect(first.totalSize).toBe(130n);
  await remove(service, { keyId: first.keys[49]!.keyId });
  await remove(service, { keyId: 'key-00000060' });
  await service.context.store.importKeys(importOrder(['AQ.test-key-new'], { source: 'test' }));
  const second = await list(service, { ...filters, pageToken: first.nextPageToken, pageSize: 70 });
  const third = await list(service, { ...filters, pageToken: second.nextPageToken });
  expect(third.nextPageToken).toBe('');
  expect(third.totalSize).toBe(129n);
  const ids = [first, second, third].flatMap(({ keys }) => keys.map(({ keyId }) => Number(keyId.slice(4))));
  expect(ids).toEqual(Array.from({ length: 131 }, (_, index) => index + 1).filter((id) => id !== 60));
});

test('page sizes: none is 50, more than 1000 is 1000, less than none is refused', async () => {
  const service = await openService();
  await service.context.store.importKeys(importOrder(apiKeys(1_001)));
  expect((await list(service, { pageSize: 0 })).keys).toHaveLength(50);
  expect((await list(service, { pageSize: 1_000_000_000 })).keys).toHaveLength(1_000);
  expect((await list(service, { pageSize: 1 })).keys).toHaveLength(1);
  expect(await refusalOf(list(service, { pageSize: -1 }))).toMatchObject({
    reason: 'INVALID_FIELD',
    field: 'page_size',
  });
});

test('a page token that is malformed, cut, or of other filters is refused', async () => {
  const service = await openService();
  await service.context.store.importKeys(importOrder(apiKeys(60)));
  const { nextPageToken } = await list(service, { source: 'test' });
  const wrong = [
    { source: 'test', pageToken: 'nonsense' },
    { source: 'test', pageToken: '!' },
    { source: 'test', pageToken: `${nextPageToken}=` },
    { source: 'test', pageToken: nextPageToken.slice(0, -1) },
    { source: 'test', pageToken: nextPageToken.slice(1) },
    { source: 'test', pageToken: 'key-00000010' },
    { pageToken: nextPageToken },
    { source: 'other', pageToken: nextPageToken },
    { source: 'test', pool: 'default', pageToken: nextPageToken },
    { source: 'test', states: [KeyState.AVAILABLE], pageToken: nextPageToken },
    { source: 'test', labels: { a: 'b' }, pageToken: nextPageToken },
  ];
  for (const request of wrong) {
    expect(await refusalOf(list(service, request))).toMatchObject({ reason: 'INVALID_FIELD', field: 'page_token' });
  }
  expect((await list(service, { source: 'test', pageToken: nextPageToken })).keys).toHaveLength(10);
});
