import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import { Code } from '../../src/gen/google/rpc/code_pb.ts';
import {
  CreatePoolRequestSchema,
  ErrorReason,
  GetKeyRequestSchema,
  ImportConflict,
  ImportKeysRequestSchema,
  type ImportKeysResponse,
  ImportStatus,
  ListImportsRequestSchema,
  ListKeysRequestSchema,
} from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { importKeys } from '../../src/server/service/import-keys.ts';
import { acquireOrder, apiKeys, importOrder } from '../support/orders.ts';
import { callOf, openService, refusalOf, type TestService } from '../support/service.ts';
import { tempDir } from '../support/temp-dir.ts';

type Request = MessageInitShape<typeof ImportKeysRequestSchema>;

function run({ context, call }: TestService, request: Request): Promise<ImportKeysResponse> {
  return importKeys(context, create(ImportKeysRequestSchema, request), call);
}

function statuses({ results }: ImportKeysResponse): ImportStatus[] {
  return results.map(({ status }) => status);
}

const { CREATED, UPDATED, UNCHANGED, DUPLICATE_IN_REQUEST, REJECTED } = ImportStatus;

test('an import adds each key with its settings and is kept in the history', async () => {
  const service = await openService();
  const response = await run(service, {
    source: 'keys.txt',
    keys: [
      { apiKey: 'AQ.test-key-000001', weight: 2, project: 'p-1', models: ['models/gemini-2.5-pro'], tier: 3 },
      { apiKey: 'AQ.test-key-000002', labels: { team: 'search' } },
    ],
  });
  expect(statuses(response)).toEqual([CREATED, CREATED]);
  expect(response.replayed).toBe(false);
  expect(response.record).toMatchObject({
    importId: '1',
    pool: 'default',
    source: 'keys.txt',
    created: 2,
    rejected: 0,
  });
  const [first, second] = response.results.map(({ keyId }) => keyId);
  const { key } = await service.admin.getKey(create(GetKeyRequestSchema, { keyId: first! }), service.call);
  expect(key).toMatchObject({
    weight: 2,
    project: 'p-1',
    models: ['gemini-2.5-pro'],
    tier: 3,
    source: 'keys.txt',
    redactedKey: 'AQ…01',
  });
  const other = await service.admin.getKey(create(GetKeyRequestSchema, { keyId: second! }), service.call);
  expect(other.key).toMatchObject({ weight: 1, labels: { team: 'search' } });
  const { imports } = await service.admin.listImports(create(ListImportsRequestSchema), service.call);
  expect(imports).toEqual([response.record]);
});

test.each([
  ['empty', '', 'empty'],
  ['with a space', 'AQ.test key', 'spaces'],
  ['with a newline', 'AQ.test-key\n', 'control'],
  ['with a NUL', 'AQ.test\0key', 'control'],
  ['not ASCII', 'AQ.test-këy', 'non-ASCII'],
  ['of 10 kB', `AQ.${'x'.repeat(10_000)}`, '10003 characters'],
])(
  'an API key that is %s is rejected by its place and never repeated; the others are imported',
  async (_, bad, says) => {
    const service = await openService();
    const keys = apiKeys(5).map((apiKey) => ({ apiKey }));
    keys[3] = { apiKey: bad };
    const response = await run(service, { keys });
    expect(statuses(response)).toEqual([CREATED, CREATED, CREATED, REJECTED, CREATED]);
    const { error } = response.results[3]!;
    expect(error).toMatchObject({ code: Code.INVALID_ARGUMENT, reason: ErrorReason.INVALID_FIELD });
    expect(error!.message).toContain('keys[3].api_key');
    expect(error!.message).toContain(says);
    if (bad !== '') expect(error!.message).not.toContain(bad);
    expect(response.record).toMatchObject({ created: 4, rejected: 1 });
  },
);

test.each<[field: string, NonNullable<Request['keys']>[number]]>([
  ['weight', { weight: 0 }],
  ['weight', { weight: -1 }],
  ['weight', { weight: Number.POSITIVE_INFINITY }],
  ['weight', { weight: Number.NaN }],
  ['weight', { weight: 1000.1 }],
  ['tier', { tier: 10 }],
  ['tier', { tier: -1 }],
  ['project', { project: 'x'.repeat(129) }],
  ['models[1]', { models: ['gemini-2.5-pro', 'no model'] }],
  ['models', { models: Array.from({ length: 65 }, (_, i) => `m${i}`) }],
  ['labels', { labels: Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`l${i}`, ''])) }],
  ['labels["team"]', { labels: { team: 'x'.repeat(257) } }],
])('a key whose %s is wrong is rejected alone, case %#', async (field, wrong) => {
  const service = await openService();
  const response = await run(service, {
    keys: [{ ...wrong, apiKey: 'AQ.test-key-000001' }, { apiKey: 'AQ.test-key-000002' }],
  });
  expect(statuses(response)).toEqual([REJECTED, CREATED]);
  expect(response.results[0]!.error!.message).toContain(`keys[0].${field} `);
});

test('no key, and more than 10,000, are refused with what is allowed', async () => {
  const service = await openService();
  expect(await refusalOf(run(service, { keys: [] }))).toMatchObject({ reason: 'INVALID_FIELD', field: 'keys' });
  const many = apiKeys(10_001).map((apiKey) => ({ apiKey }));
  const refusal = await refusalOf(run(service, { keys: many }));
  expect(refusal).toMatchObject({ reason: 'INVALID_FIELD', field: 'keys' });
  expect(refusal.message).toMatch(/10001 items.*1 to 10000 items/);
});

test('a source of 129 characters, an unknown conflict rule and an unknown pool are refused', async () => {
  const service = await openService();
  const keys = [{ apiKey: 'AQ.test-key-000001' }];
  expect(await refusalOf(run(service, { keys, source: 'x'.repeat(129) }))).toMatchObject({ field: 'source' });
  expect(await refusalOf(run(service, { keys, onConflict: 7 as ImportConflict }))).toMatchObject({
    field: 'on_conflict',
    message: expect.stringContaining('IMPORT_CONFLICT_UPDATE'),
  });
  expect(await refusalOf(run(service, { keys, pool: 'nowhere' }))).toMatchObject({ reason: 'POOL_NOT_FOUND' });
  expect(await refusalOf(run(service, { keys, pool: 'No Pool' }))).toMatchObject({ reason: 'POOL_NOT_FOUND' });
});

test('a key twice in a request is added once, the second names the first', async () => {
  const service = await openService();
  const response = await run(service, { keys: [{ apiKey: 'AQ.test-key-1' }, { apiKey: 'AQ.test-key-1', weight: 2 }] });
  expect(statuses(response)).toEqual([CREATED, DUPLICATE_IN_REQUEST]);
  expect(response.results[1]!.keyId).toBe(response.results[0]!.keyId);
  expect(response.record).toMatchObject({ created: 1, unchanged: 1 });
});

test('a known key is kept as it is, or overwritten in weight, project, source and labels and nothing else', async () => {
  const service = await openService();
  const apiKey = 'AQ.test-key-000001';
  const first = await run(service, { source: 'a', keys: [{ apiKey, weight: 2, tier: 1, labels: { a: '1', b: '2' } }] });
  const { keyId } = first.results[0]!;
  const changed = { apiKey, weight: 3, tier: 2, project: 'p', models: ['m'] };
  expect(statuses(await run(service, { source: 'b', keys: [changed] }))).toEqual([UNCHANGED]);
  const update = { source: 'b', keys: [changed], onConflict: ImportConflict.UPDATE };
  const second = await run(service, update);
  expect(statuses(second)).toEqual([UPDATED]);
  expect(second.results[0]!.keyId).toBe(keyId);
  const { key } = await service.admin.getKey(create(GetKeyRequestSchema, { keyId }), service.call);
  expect(key).toMatchObject({ weight: 3, project: 'p', source: 'b', labels: {}, tier: 1, models: [] });
  expect(statuses(await run(service, update))).toEqual([UNCHANGED]);
});

test('labels in another order are the same labels', async () => {
  const service = await openService();
  const apiKey = 'AQ.test-key-000001';
  const request = (labels: Record<string, string>): Request => ({
    keys: [{ apiKey, labels }],
    onConflict: ImportConflict.UPDATE,
    requestId: 'r-1',
  });
  const first = await run(service, request({ a: '1', b: '2' }));
  const again = await run(service, request({ b: '2', a: '1' }));
  expect(again).toEqual({ ...first, replayed: true });
  const anew = await run(service, { ...request({ b: '2', a: '1' }), requestId: '' });
  expect(statuses(anew)).toEqual([UNCHANGED]);
});

test('a key of another pool is rejected and stays there', async () => {
  const service = await openService();
  await service.admin.createPool(create(CreatePoolRequestSchema, { pool: { pool: 'other' } }), service.call);
  const keys = [{ apiKey: 'AQ.test-key-000001' }];
  const first = await run(service, { keys, pool: 'other' });
  const response = await run(service, { keys, onConflict: ImportConflict.UPDATE });
  expect(statuses(response)).toEqual([REJECTED]);
  const { keyId, error } = response.results[0]!;
  expect(keyId).toBe(first.results[0]!.keyId);
  expect(error).toMatchObject({ code: Code.ALREADY_EXISTS, reason: ErrorReason.KEY_ALREADY_EXISTS });
});

test('validate_only tells what would come of it and writes nothing', async () => {
  const service = await openService();
  await run(service, { keys: [{ apiKey: 'AQ.test-key-000001' }] });
  const before = (await service.context.store.stats({ pools: [], includeModels: false })).commits;
  const response = await run(service, {
    validateOnly: true,
    onConflict: ImportConflict.UPDATE,
    requestId: 'r-1',
    keys: [
      { apiKey: 'AQ.test-key-000001', weight: 2 },
      { apiKey: 'AQ.test-key-000002' },
      { apiKey: 'AQ.test-key-000002' },
      { apiKey: '' },
    ],
  });
  expect(statuses(response)).toEqual([UPDATED, CREATED, DUPLICATE_IN_REQUEST, REJECTED]);
  expect(response.results.map(({ keyId }) => keyId)).toEqual(['key-00000001', '', '', '']);
  expect(response.record).toMatchObject({ importId: '', created: 1, updated: 1, unchanged: 1, rejected: 1 });
  const { keys } = await service.admin.listKeys(create(ListKeysRequestSchema), service.call);
  expect(keys.map(({ weight }) => weight)).toEqual([1]);
  const { imports } = await service.admin.listImports(create(ListImportsRequestSchema), service.call);
  expect(imports).toHaveLength(1);
  const { commits } = await service.context.store.stats({ pools: [], includeModels: false });
  expect(commits.count).toBe(before.count);
});

test('a repeat by request_id gets the first answer, also after a restart; other content is refused', async () => {
  const dataDir = tempDir();
  const first = await openService({ dataDir });
  const request: Request = { requestId: 'r-1', keys: [{ apiKey: 'AQ.test-key-000001' }, { apiKey: '' }] };
  const answer = await run(first, request);
  expect(await run(first, request)).toEqual({ ...answer, replayed: true });
  await first.close();
  const second = await openService({ dataDir });
  expect(await run(second, request)).toEqual({ ...answer, replayed: true });
  const other = { ...request, keys: [{ apiKey: 'AQ.test-key-000002' }] };
  expect(await refusalOf(run(second, other))).toMatchObject({ reason: 'REQUEST_ID_REUSED' });
  // The id is its caller's own.
  const stranger = { ...second, call: callOf({ caller: 'other' }) };
  expect(statuses(await run(stranger, other))).toEqual([CREATED]);
  const { totalSize } = await second.admin.listKeys(create(ListKeysRequestSchema), second.call);
  expect(totalSize).toBe(2n);
});

test('where one key ends and the next begins is part of the content', async () => {
  const service = await openService();
  await run(service, { requestId: 'r-1', keys: [{ apiKey: 'AQ.test-key-1' }, { project: 'p' }] });
  const joined = run(service, { requestId: 'r-1', keys: [{ apiKey: 'AQ.test-key-1', project: 'p' }] });
  expect(await refusalOf(joined)).toMatchObject({ reason: 'REQUEST_ID_REUSED' });
});

test('two requests with one id at once import once', async () => {
  const service = await openService();
  const request: Request = { requestId: 'r-1', keys: apiKeys(300).map((apiKey) => ({ apiKey })) };
  const [a, b] = await Promise.all([run(service, request), run(service, request)]);
  expect([a.replayed, b.replayed].sort()).toEqual([false, true]);
  expect(b.results).toEqual(a.results);
  const { imports } = await service.admin.listImports(create(ListImportsRequestSchema), service.call);
  expect(imports).toHaveLength(1);
});

test('a key deleted while it is imported again is added anew and serves, also after a restart', async () => {
  const dataDir = tempDir();
  const { context, close } = await openService({ dataDir });
  const { store } = context;
  const order = importOrder(['AQ.test-key-000001']);
  const [first] = (await store.importKeys(order)).results;
  // Both begin in this turn: the import finds the key known, and its deletion is stored first.
  const again = store.importKeys(order);
  const deletion = store.deleteKey({ keyId: first!.keyId, etag: '', allowMissing: false });
  const [second] = (await again).results;
  await deletion;
  expect(second).toMatchObject({ status: CREATED, keyId: 'key-00000002' });
  await close();
  const { store: restarted } = (await openService({ dataDir })).context;
  const grant = await restarted.acquire(acquireOrder({ requireKeyId: second!.keyId }));
  expect(grant.apiKey).toBe('AQ.test-key-000001');
});

test('imports at the same time leave every key once in the list, in the order of the ids', async () => {
  const service = await openService();
  const { store } = service.context;
  // The long one begins first and is stored last, so that its smaller ids come after larger ones.
  await Promise.all([
    store.importKeys(importOrder(apiKeys(900, 'AQ.a-'))),
    store.importKeys(importOrder(apiKeys(60, 'AQ.b-'))),
    store.importKeys(importOrder(apiKeys(300, 'AQ.c-'))),
  ]);
  const ids: string[] = [];
  let pageToken = '';
  do {
    const request = create(ListKeysRequestSchema, { pageSize: 100, pageToken });
    const page = await service.admin.listKeys(request, service.call);
    ids.push(...page.keys.map(({ keyId }) => keyId));
    expect(page.totalSize).toBe(1260n);
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  expect(ids).toHaveLength(1260);
  expect(ids).toEqual([...new Set(ids)].sort());
});

test('others get their turn again and again while 10,000 keys are imported', async () => {
  const service = await openService();
  let turns = 0;
  let done = false;
  const count = (): void => {
    turns++;
    if (!done) setImmediate(count);
  };
  setImmediate(count);
  const response = await run(service, { requestId: 'r-1', keys: apiKeys(10_000).map((apiKey) => ({ apiKey })) });
  done = true;
  expect(response.record).toMatchObject({ created: 10_000 });
  // Each of the steps (reading, sealing, judging, packing, adding, answering) pauses after every 50 keys.
  expect(turns).toBeGreaterThan(1_000);
});
