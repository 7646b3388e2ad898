import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import {
  AcquireKeyRequestSchema,
  BatchGetKeysRequestSchema,
  CreateKeyRequestSchema,
  CreatePoolRequestSchema,
  DeleteQuotaRequestSchema,
  ImportKeysRequestSchema,
  type KeyToImportSchema,
  SetQuotaRequestSchema,
  TestKeysRequestSchema,
  UpdateKeyRequestSchema,
} from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { acquireKey } from '../../src/server/service/acquire-key.ts';
import { testKeys } from '../../src/server/service/admin/test-keys.ts';
import { batchGetKeys } from '../../src/server/service/batch-get-keys.ts';
import { importKeys } from '../../src/server/service/import-keys.ts';
import { createKeyOrder } from '../support/orders.ts';
import { openService, refusalOf, type TestService } from '../support/service.ts';

// Of both forms, and shorter than real ones.
const NAMES = ['AIzaSyFAKE000000000000000000', 'AQ.fake-auth-key-000000'];
const LIMIT = { requestsPerMinute: { value: 1n } };

const PLACES: Record<string, (service: TestService, name: string) => Promise<unknown>> = {
  model: ({ context, call }, model) => acquireKey(context, create(AcquireKeyRequestSchema, { model }), call),
  require_project: ({ context, call }, requireProject) =>
    acquireKey(context, create(AcquireKeyRequestSchema, { requireProject }), call),
  'exclude_projects[1]': ({ context, call }, name) =>
    acquireKey(context, create(AcquireKeyRequestSchema, { excludeProjects: ['p', name] }), call),
  'model of a batch': ({ context, call }, model) =>
    batchGetKeys(context, create(BatchGetKeysRequestSchema, { model, batchSizes: [1] }), call),
  'model of a test': ({ context, call }, model) =>
    testKeys(context, create(TestKeysRequestSchema, { model }), call).next(),
  'quota.project': ({ admin, call }, project) =>
    admin.setQuota(create(SetQuotaRequestSchema, { quota: { project, ...LIMIT } }), call),
  'quota.model': ({ admin, call }, model) =>
    admin.setQuota(create(SetQuotaRequestSchema, { quota: { project: 'p', model, ...LIMIT } }), call),
  'key.project': ({ admin, call }, project) =>
    admin.createKey(create(CreateKeyRequestSchema, { apiKey: 'AQ.test-key-b', key: { project } }), call),
  'key.models[0]': ({ admin, call }, name) =>
    admin.createKey(create(CreateKeyRequestSchema, { apiKey: 'AQ.test-key-b', key: { models: [name] } }), call),
  'key.source': ({ admin, call }, source) =>
    admin.createKey(create(CreateKeyRequestSchema, { apiKey: 'AQ.test-key-b', key: { source } }), call),
  'key.labels name': ({ admin, call }, name) =>
    admin.createKey(
      create(CreateKeyRequestSchema, { apiKey: 'AQ.test-key-b', key: { labels: { [name]: '1' } } }),
      call,
    ),
  'key.labels["team"]': ({ admin, call }, team) =>
    admin.createKey(create(CreateKeyRequestSchema, { apiKey: 'AQ.test-key-b', key: { labels: { team } } }), call),
  'pool.description': ({ admin, call }, description) =>
    admin.createPool(create(CreatePoolRequestSchema, { pool: { pool: 'batch', description } }), call),
  'source of an import': ({ context, call }, source) =>
    importKeys(context, create(ImportKeysRequestSchema, { keys: [{ apiKey: 'AQ.test-key-b' }], source }), call),
  'key.project of an update': ({ admin, call }, project) =>
    admin.updateKey(create(UpdateKeyRequestSchema, { key: { keyId: 'key-00000001', project } }), call),
};

async function opened(): Promise<TestService> {
  const service = await openService();
  await service.context.store.createKey(createKeyOrder('AQ.test-key-a', { project: 'p' }));
  return service;
}

test.each(Object.keys(PLACES))('an API key as %s is refused and not repeated', async (place) => {
  const service = await opened();
  for (const name of NAMES) {
    for (const written of [name, `my ${name}`, `models/${name}`]) {
      const refusal = await refusalOf(PLACES[place]!(service, written));
      expect(refusal).toMatchObject({ reason: 'INVALID_FIELD', field: place.replace(/ of an? .*/, '') });
      expect(refusal.message).toContain('looks like an API key');
      expect(refusal.message).not.toMatch(/fake/i);
    }
  }
});

test.each<[string, (name: string) => MessageInitShape<typeof KeyToImportSchema>]>([
  ['project', (project) => ({ project })],
  ['source', (source) => ({ source })],
  ['labels name', (name) => ({ labels: { [name]: '1', team: name } })],
  ['labels["team"]', (team) => ({ labels: { team } })],
])('a key with an API key as its %s is not imported, and the refusal does not repeat it', async (field, settings) => {
  const { context, call } = await opened();
  const keys = NAMES.map((name, index) => ({ apiKey: `AQ.test-key-${index}`, ...settings(name) }));
  const { results, record } = await importKeys(context, create(ImportKeysRequestSchema, { keys }), call);
  expect(record).toMatchObject({ created: 0, rejected: 2 });
  for (const { error } of results) {
    expect(error!.message).toContain(`${field} is "a text that looks like an API key"`);
    expect(error!.message).not.toMatch(/fake/i);
  }
});

test('names that merely speak of keys and tokens are names', async () => {
  const service = await opened();
  for (const name of ['token-counter', 'api-keys', 'my-key', 'Bearer', 'AQUA', 'gemini-2.5-flash', 'projects/123456']) {
    for (const place of ['quota.project', 'key.project of an update', 'exclude_projects[1]']) {
      await expect(PLACES[place]!(service, name)).resolves.toBeDefined();
      await service.admin.updateKey(
        create(UpdateKeyRequestSchema, { key: { keyId: 'key-00000001', project: 'z' } }),
        service.call,
      );
    }
  }
});

test('limits of a project that looks like an API key can still be deleted', async () => {
  const { admin, call } = await opened();
  for (const project of NAMES) {
    await expect(admin.deleteQuota(create(DeleteQuotaRequestSchema, { project }), call)).resolves.toBeDefined();
  }
});
