import { create } from '@bufbuild/protobuf';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { expect, test } from 'vitest';
import { AcquireKeyRequestSchema, Outcome } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { acquireKey } from '../../src/server/service/acquire-key.ts';
import { acquireOrder, importOrder, report } from '../support/orders.ts';
import { callOf, openService, refusalOf } from '../support/service.ts';

test('a caller that leaves in the same instant in which its key comes leaves the key free', async () => {
  const { context } = await openService();
  const { store } = context;
  await store.importKeys(importOrder(['AQ.key-a']));
  await store.updatePool({ pool: 'default', etag: '', change: { maxTotalLeases: 1 } });
  const { leaseId } = await store.acquire(acquireOrder());
  const left = new AbortController();
  const request = create(AcquireKeyRequestSchema, { maxWait: durationFromMs(60_000) });
  const answer = acquireKey(context, request, callOf({ signal: left.signal }));
  await expect.poll(async () => (await store.stats({ pools: [], includeModels: false })).total.waitingAcquires).toBe(1);
  // Serves who waits, in the same turn; the caller leaves before it can be told.
  const reported = store.report(report(leaseId, { outcome: Outcome.SUCCESS }));
  left.abort();
  expect((await refusalOf(answer)).reason).toBe('OPERATION_CANCELLED');
  await reported;
  const { total } = await store.stats({ pools: [], includeModels: false });
  expect(total).toMatchObject({ activeLeases: 0, usage: { succeeded: 1, unused: 1 } });
});
