import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { describe, expect, test } from 'vitest';
import {
  DeleteQuotaRequestSchema,
  LimitOrigin,
  ListQuotasRequestSchema,
  type ListQuotasResponse,
  type Quota,
  SetQuotaRequestSchema,
} from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { createKeyOrder } from '../support/orders.ts';
import { openService, refusalOf, type TestService } from '../support/service.ts';
import { tempDir } from '../support/temp-dir.ts';

type NewQuota = NonNullable<MessageInitShape<typeof SetQuotaRequestSchema>['quota']>;

async function set({ admin, call }: TestService, quota: NewQuota): Promise<Quota> {
  return (await admin.setQuota(create(SetQuotaRequestSchema, { quota }), call)).quota!;
}

function list(
  { admin, call }: TestService,
  request: MessageInitShape<typeof ListQuotasRequestSchema> = {},
): Promise<ListQuotasResponse> {
  return admin.listQuotas(create(ListQuotasRequestSchema, request), call);
}

function remove({ admin, call }: TestService, request: MessageInitShape<typeof DeleteQuotaRequestSchema>) {
  return admin.deleteQuota(create(DeleteQuotaRequestSchema, request), call);
}

const names = ({ quotas }: ListQuotasResponse): string[] => quotas.map(({ project, model }) => `${project}/${model}`);

test('limits of a project and model are set, shown as set, and stay where they are not named again', async () => {
  const service = await openService();
  await service.context.store.createKey(createKeyOrder('AQ.test-key-a', { project: 'p' }));
  const model = 'gemini-2.5-flash';
  const first = await set(service, { project: 'p', model: `models/${model}`, requestsPerMinute: { value: 10n } });
  expect(first).toMatchObject({
    project: 'p',
    model,
    requestsPerMinute: { value: 10n, origin: LimitOrigin.SET, used: 0n },
  });
  expect(first.requestsPerDay).toBeUndefined();
  const limits = {
    inputTokensPerMinute: { value: 0n },
    requestsPerDay: { value: 250n },
    tokensPerDay: { value: 10n ** 12n },
  };
  const second = await set(service, { project: 'p', model, ...limits });
  const expected = {
    requestsPerMinute: { value: 10n },
    inputTokensPerMinute: { value: 0n },
    requestsPerDay: { value: 250n },
    tokensPerDay: { value: 10n ** 12n },
  };
  expect(second).toMatchObject(expected);
  expect((await list(service)).quotas).toMatchObject([{ project: 'p', model, ...expected }]);
});

test('what only the server may say of a limit is passed over', async () => {
  const service = await openService();
  const limit = { value: 5n, origin: LimitOrigin.LEARNED, used: 99n, resetTime: { seconds: 1n } };
  const quota = await set(service, { project: 'p', model: 'm', requestsPerMinute: limit });
  expect(quota.requestsPerMinute).toMatchObject({ value: 5n, origin: LimitOrigin.SET, used: 0n });
});

test('limits of a project that no key names are kept, restarts included', async () => {
  const dataDir = tempDir();
  const before = await openService({ dataDir });
  await set(before, { project: 'to come', requestsPerMinute: { value: 3n } });
  await before.close();
  const after = await openService({ dataDir });
  expect((await list(after)).quotas).toMatchObject([
    { project: 'to come', model: '', requestsPerMinute: { value: 3n, origin: LimitOrigin.SET } },
  ]);
});

test('lists are in order of project and model, paged, and of one project where one is named', async () => {
  const service = await openService();
  for (const [project, model] of [
    ['b', ''],
    ['a', 'n'],
    ['a', 'm'],
    ['c', 'm'],
  ] as const) {
    await set(service, { project, model, requestsPerDay: { value: 1n } });
  }
  expect(names(await list(service))).toEqual(['a/m', 'a/n', 'b/', 'c/m']);
  expect(names(await list(service, { project: 'a' }))).toEqual(['a/m', 'a/n']);
  const first = await list(service, { pageSize: 3 });
  expect(names(first)).toEqual(['a/m', 'a/n', 'b/']);
  const second = await list(service, { pageSize: 3, pageToken: first.nextPageToken });
  expect(names(second)).toEqual(['c/m']);
  expect(second.nextPageToken).toBe('');
  const misused = list(service, { project: 'a', pageToken: first.nextPageToken });
  expect(await refusalOf(misused)).toMatchObject({ reason: 'INVALID_FIELD', field: 'page_token' });
  expect(await refusalOf(list(service, { pageSize: -1 }))).toMatchObject({ field: 'page_size' });
});

test('limits of one project and model are forgotten, and to forget what nobody knows is no error', async () => {
  const service = await openService();
  await set(service, { project: 'p', model: 'm', requestsPerDay: { value: 1n } });
  await set(service, { project: 'p', requestsPerDay: { value: 2n } });
  await remove(service, { project: 'p', model: 'models/m' });
  expect(names(await list(service))).toEqual(['p/']);
  await remove(service, { project: 'p', model: 'm' });
  await remove(service, { project: 'never seen' });
  expect(names(await list(service))).toEqual(['p/']);
});

describe('limits that cannot be are refused by name, with what is allowed', () => {
  const limit = { requestsPerMinute: { value: 1n } };
  test.each<[NewQuota | undefined, string, RegExp]>([
    [undefined, 'quota', /absent/],
    [{ model: 'm', ...limit }, 'quota.project', /allowed: a project, at most 128 characters/],
    [{ project: 'p'.repeat(129), ...limit }, 'quota.project', /allowed: at most 128 characters/],
    [{ project: 'p', model: '*', ...limit }, 'quota.model', /leave it empty for every model/],
    [{ project: 'p', model: 'gemini-*', ...limit }, 'quota.model', /leave it empty for every model/],
    [{ project: 'p', model: 'no model', ...limit }, 'quota.model', /at most 128 characters/],
    [{ project: 'p' }, 'quota', /at least one of requests_per_minute, input_tokens_per_minute/],
    [
      { project: 'p', requestsPerMinute: { value: -1n } },
      'quota.requests_per_minute.value',
      /is -1; allowed: 0 to 1000000000000$/,
    ],
    [{ project: 'p', inputTokensPerMinute: { value: -5n } }, 'quota.input_tokens_per_minute.value', /is -5;/],
    [{ project: 'p', requestsPerDay: { value: 10n ** 12n + 1n } }, 'quota.requests_per_day.value', /allowed: 0 to/],
    [{ project: 'p', tokensPerDay: { value: 2n ** 63n - 1n } }, 'quota.tokens_per_day.value', /allowed: 0 to/],
  ])('%o', async (quota, field, message) => {
    const service = await openService();
    const request = create(SetQuotaRequestSchema, quota === undefined ? {} : { quota });
    const refusal = await refusalOf(service.admin.setQuota(request, service.call));
    expect(refusal).toMatchObject({ reason: 'INVALID_FIELD', field });
    expect(refusal.message).toMatch(message);
  });

  test('and so is a project or model to forget', async () => {
    const service = await openService();
    expect(await refusalOf(remove(service, {}))).toMatchObject({ reason: 'INVALID_FIELD', field: 'project' });
    expect(await refusalOf(remove(service, { project: 'p', model: '*' }))).toMatchObject({ field: 'model' });
    expect(await refusalOf(list(service, { project: 'p'.repeat(129) }))).toMatchObject({ field: 'project' });
  });
});
