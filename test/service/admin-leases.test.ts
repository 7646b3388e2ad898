import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { expect, test } from 'vitest';
import {
  CreatePoolRequestSchema,
  ListImportsRequestSchema,
  ListLeasesRequestSchema,
  RevokeLeaseRequestSchema,
} from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { acquireOrder, apiKeys, importOrder, report } from '../support/orders.ts';
import { movedClock, openService, refusalOf, START_TIME, type TestService } from '../support/service.ts';

async function list({ admin, call }: TestService, request: MessageInitShape<typeof ListLeasesRequestSchema> = {}) {
  return admin.listLeases(create(ListLeasesRequestSchema, request), call);
}

function revoke({ admin, call }: TestService, leaseRef: string) {
  return admin.revokeLease(create(RevokeLeaseRequestSchema, { leaseRef }), call);
}

async function imports({ admin, call }: TestService, request: MessageInitShape<typeof ListImportsRequestSchema> = {}) {
  return admin.listImports(create(ListImportsRequestSchema, request), call);
}

/** Two keys in pool default, one in pool other. */
async function filled(): Promise<TestService> {
  const service = await openService({ clock: movedClock() });
  const { store } = service.context;
  await service.admin.createPool(create(CreatePoolRequestSchema, { pool: { pool: 'other' } }), service.call);
  await store.importKeys(importOrder(apiKeys(2)));
  await store.importKeys(importOrder(['AQ.test-key-other'], { pool: 'other' }));
  return service;
}

test('a live lease is shown without its secret and without what gives a right to it', async () => {
  const service = await filled();
  const grant = await service.context.store.acquire(acquireOrder({ caller: 'batch', model: 'm', leaseTtlMs: 60_000 }));
  const { leases, nextPageToken } = await list(service);
  expect(nextPageToken).toBe('');
  expect(leases).toEqual([
    {
      $typeName: 'keybalancer.v1.LeaseInfo',
      leaseRef: leases[0]!.leaseRef,
      keyId: grant.keyId,
      pool: 'default',
      model: 'm',
      holder: 'batch',
      acquireTime: { $typeName: 'google.protobuf.Timestamp', seconds: BigInt(START_TIME / 1000 + 1), nanos: 0 },
      expireTime: { $typeName: 'google.protobuf.Timestamp', seconds: BigInt(START_TIME / 1000 + 61), nanos: 0 },
    },
  ]);
  expect(leases[0]!.leaseRef).not.toBe('');
  expect(grant.leaseId).not.toContain(leases[0]!.leaseRef);
});

test('leases are listed by pool and key, in pages that miss nothing and repeat nothing', async () => {
  const service = await filled();
  const { store } = service.context;
  const ofKey = new Map<string, number>();
  for (let i = 0; i < 120; i++) {
    const { keyId, leaseId } = await store.acquire(acquireOrder());
    if (i % 10 === 0) await store.report(report(leaseId));
    else ofKey.set(keyId, (ofKey.get(keyId) ?? 0) + 1);
  }
  await store.acquire(acquireOrder({ pool: 'other' }));
  const all: string[] = [];
  let pageToken = '';
  do {
    const page = await list(service, { pool: 'default', pageToken, pageSize: 25 });
    all.push(...page.leases.map(({ leaseRef }) => leaseRef));
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  expect(new Set(all).size).toBe(108);
  expect(all).toHaveLength(108);
  expect((await list(service, { pool: 'other' })).leases).toMatchObject([{ keyId: 'key-00000003', pool: 'other' }]);
  for (const [keyId, count] of ofKey) {
    const { leases } = await list(service, { keyId, pageSize: 1000 });
    expect(leases).toHaveLength(count);
    expect(leases.every((lease) => lease.keyId === keyId)).toBe(true);
  }
  expect((await list(service, { keyId: 'key-00000001', pool: 'other' })).leases).toEqual([]);
});

test('lists of leases refuse unknown pools and keys, and tokens of other filters', async () => {
  const service = await filled();
  for (let i = 0; i < 3; i++) await service.context.store.acquire(acquireOrder());
  expect(await refusalOf(list(service, { pool: 'nowhere' }))).toMatchObject({ reason: 'POOL_NOT_FOUND' });
  expect(await refusalOf(list(service, { keyId: 'key-00000099' }))).toMatchObject({ reason: 'KEY_NOT_FOUND' });
  expect(await refusalOf(list(service, { pageSize: -1 }))).toMatchObject({ field: 'page_size' });
  const { nextPageToken } = await list(service, { pageSize: 1 });
  const other = list(service, { pool: 'default', pageToken: nextPageToken });
  expect(await refusalOf(other)).toMatchObject({ reason: 'INVALID_FIELD', field: 'page_token' });
});

test('a revoked lease gives its slot to who waits, counts as released, and can still be reported late', async () => {
  const service = await filled();
  const { store } = service.context;
  await store.updatePool({ pool: 'other', etag: '', change: { maxConcurrentLeases: 1 } });
  const first = await store.acquire(acquireOrder({ pool: 'other' }));
  const waiting = store.acquire(acquireOrder({ pool: 'other', maxWaitMs: 60_000 }));
  const { leaseRef } = (await list(service, { pool: 'other' })).leases[0]!;
  await revoke(service, leaseRef);
  expect((await waiting).keyId).toBe(first.keyId);
  expect((await list(service, { pool: 'other' })).leases).toHaveLength(1);
  const usage = async () => (await store.getKey(first.keyId)).usage;
  expect(await usage()).toMatchObject({ acquired: 2, released: 1, succeeded: 0 });
  expect(await store.report(report(first.leaseId))).toMatchObject({ late: true, duplicate: false });
  expect(await usage()).toMatchObject({ acquired: 2, released: 0, succeeded: 1, late: 1 });
});

test('a lease that is over, and what names none, is LEASE_NOT_FOUND', async () => {
  const service = await filled();
  const { leaseId } = await service.context.store.acquire(acquireOrder());
  const { leaseRef } = (await list(service)).leases[0]!;
  for (const none of ['1.99', `${leaseRef}.1`, `${leaseRef} `, '-1.1', 'nonsense', leaseId.slice(0, 60)]) {
    expect(await refusalOf(revoke(service, none))).toMatchObject({ reason: 'LEASE_NOT_FOUND' });
  }
  expect(await refusalOf(revoke(service, ''))).toMatchObject({ reason: 'INVALID_FIELD', field: 'lease_ref' });
  expect(await refusalOf(revoke(service, 'x'.repeat(65)))).toMatchObject({
    reason: 'INVALID_FIELD',
    field: 'lease_ref',
  });
  await revoke(service, leaseRef);
  expect(await refusalOf(revoke(service, leaseRef))).toMatchObject({ reason: 'LEASE_NOT_FOUND' });
});

test('imports are listed newest first, by pool, in pages', async () => {
  const service = await filled();
  const { store } = service.context;
  for (let i = 0; i < 5; i++) await store.importKeys(importOrder([`AQ.test-key-more-${i}`], { source: `file-${i}` }));
  const first = await imports(service, { pool: 'default', pageSize: 4 });
  expect(first.imports.map(({ source }) => source)).toEqual(['file-4', 'file-3', 'file-2', 'file-1']);
  await store.importKeys(importOrder(['AQ.test-key-newest']));
  const second = await imports(service, { pool: 'default', pageSize: 4, pageToken: first.nextPageToken });
  expect(second.imports.map(({ source, created }) => [source, created])).toEqual([
    ['file-0', 1],
    ['test', 2],
  ]);
  expect(second.nextPageToken).toBe('');
  expect((await imports(service, { pool: 'other' })).imports).toMatchObject([{ importId: '2', pool: 'other' }]);
  expect((await imports(service)).imports).toHaveLength(8);
  expect(await refusalOf(imports(service, { pool: 'nowhere' }))).toMatchObject({ reason: 'POOL_NOT_FOUND' });
  expect(await refusalOf(imports(service, { pageToken: first.nextPageToken }))).toMatchObject({ field: 'page_token' });
  expect(await refusalOf(imports(service, { pageSize: -1 }))).toMatchObject({ field: 'page_size' });
});
