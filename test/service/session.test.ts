import { create } from '@bufbuild/protobuf';
import { expect, onTestFinished, test, vi } from 'vitest';
import type { OperationResult } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { ErrorReason, Outcome, SessionRequestSchema } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { session } from '../../src/server/service/session/session.ts';
import type { RenewOrder, Store } from '../../src/store/store.ts';
import { acquireOrder, apiKeys, importOrder, report } from '../support/orders.ts';
import { acquire, cancel, leaseOf, renewOf, reportOf, SessionClient } from '../support/session-client.ts';
import { caller, contextOf, openFileStore } from '../support/streams.ts';
import { tempDir } from '../support/temp-dir.ts';

const WAIT = { maxWait: { seconds: 60n } };

/** A server with so many keys, each good for one lease at a time unless said otherwise. */
async function started(keys: number, maxConcurrentLeases = 1) {
  const store = await openFileStore(tempDir());
  onTestFinished(() => store.close());
  await store.updatePool({ pool: 'default', etag: '', change: { maxConcurrentLeases } });
  if (keys > 0) await store.importKeys(importOrder(apiKeys(keys)));
  return { store, context: contextOf(store) };
}

async function counts(store: Store) {
  const { total } = await store.stats({ pools: [], includeModels: false });
  return { active: total.activeLeases, waiting: total.waitingAcquires, ...total.usage };
}

function reason(result: OperationResult['result'] | undefined): string | undefined {
  if (result?.case !== 'error') return result?.case;
  return Object.entries(ErrorReason).find(([, value]) => value === result.value.reason)?.[0];
}

test('settings come first, before any result', async () => {
  const { context } = await started(1);
  const client = new SessionClient(context);
  client.send(acquire());
  const first = await client.next();
  expect(first?.settings).toMatchObject({ maxOpenOperations: 10_000, maxWaiting: 1_000 });
  expect(first?.results).toEqual([]);
  leaseOf((await client.results(1)).values().next().value);
});

test('many operations in one message are answered in one', async () => {
  const { store, context } = await started(200);
  const client = new SessionClient(context);
  await client.next();
  const operations = Array.from({ length: 200 }, () => acquire());
  client.send(...operations);
  const taken = await client.results(200);
  expect(client.responses).toHaveLength(2);
  const leases = operations.map(({ correlationId }) => leaseOf(taken.get(correlationId)));
  expect(new Set(leases.map(({ keyId }) => keyId)).size).toBe(200);
  client.send(...leases.map(({ leaseId }) => reportOf({ leaseId, outcome: Outcome.SUCCESS })));
  await client.results(400);
  expect(await counts(store)).toMatchObject({ acquired: 200, succeeded: 200, active: 0 });
});

test('reports and renewals are taken while acquires wait, and answers come in any order', async () => {
  const { context } = await started(1);
  const client = new SessionClient(context);
  const first = acquire();
  client.send(first);
  const { leaseId } = leaseOf((await client.results(1)).get(first.correlationId));
  const waiting = [acquire(WAIT), acquire(WAIT)];
  client.send(...waiting);
  const renewal = renewOf(leaseId);
  client.send(renewal);
  const renewed = await client.results(2);
  expect(renewed.get(renewal.correlationId)?.case).toBe('renew');
  const reported = reportOf({ leaseId, outcome: Outcome.SUCCESS });
  client.send(reported);
  const results = await client.results(4);
  expect(results.get(reported.correlationId)?.case).toBe('report');
  leaseOf(results.get(waiting[0]!.correlationId));
  expect(results.has(waiting[1]!.correlationId)).toBe(false);
});

test('a cancelled acquire is answered OPERATION_CANCELLED and takes no key', async () => {
  const { store, context } = await started(1);
  const held = await store.acquire(acquireOrder());
  const client = new SessionClient(context);
  const [given, kept] = [acquire(WAIT), acquire(WAIT)];
  client.send(given, kept);
  await client.next();
  await expect.poll(async () => (await counts(store)).waiting).toBe(2);
  client.send(cancel(given.correlationId), cancel(999_999n));
  expect(reason((await client.results(1)).get(given.correlationId))).toBe('OPERATION_CANCELLED');
  await store.report(report(held.leaseId));
  leaseOf((await client.results(2)).get(kept.correlationId));
  expect(await counts(store)).toMatchObject({ acquired: 2, waiting: 0, active: 1 });
});

test('refusals are answers of their operations, and the stream goes on', async () => {
  const { store, context } = await started(1);
  await store.acquire(acquireOrder());
  const client = new SessionClient(context);
  const waiting = acquire(WAIT);
  const unknownPool = acquire({ pool: 'nowhere' });
  const unknownLease = reportOf({ leaseId: 'none', outcome: Outcome.SUCCESS });
  const malformed = acquire({ leaseTtl: { seconds: -1n } });
  const noKey = acquire();
  const nothing = { correlationId: 1_000_000n };
  client.send(waiting, unknownPool, unknownLease, malformed, noKey, nothing);
  const results = await client.results(5);
  // The settings, and all of these together, although some were refused at once and others after a look at the store.
  expect(client.responses).toHaveLength(2);
  expect(
    [unknownPool, unknownLease, malformed, noKey, nothing].map(({ correlationId }) =>
      reason(results.get(correlationId)),
    ),
  ).toEqual(['POOL_NOT_FOUND', 'LEASE_NOT_FOUND', 'INVALID_FIELD', 'NO_KEY_AVAILABLE', 'INVALID_FIELD']);
  client.send(acquire({}, waiting.correlationId));
  expect(reason((await client.results(6)).get(waiting.correlationId))).toBe('INVALID_FIELD');
});

test('a correlation id may be used again once its operation is answered', async () => {
  const { context } = await started(2);
  const client = new SessionClient(context);
  client.send(acquire({}, 7n));
  await client.results(1);
  client.send(acquire({}, 7n));
  leaseOf((await client.results(2)).get(7n));
});

test.each([0, 1_001])('a message of %i operations ends the stream with INVALID_FIELD', async (count) => {
  const { context } = await started(1);
  const client = new SessionClient(context);
  await client.next();
  const good = acquire();
  client.send(good);
  leaseOf((await client.results(1)).get(good.correlationId));
  client.send(...Array.from({ length: count }, () => acquire()));
  await expect(client.next()).rejects.toMatchObject({ reason: 'INVALID_FIELD', metadata: { field: 'operations' } });
  expect(context.open.sessions).toBe(0);
});

test.each(['leaves', 'finishes', 'breaks the protocol', 'is returned'])(
  'leases bound to the session are released when its client %s',
  async (how) => {
    const { store, context } = await started(3, 0);
    const client = new SessionClient(context);
    const [bound, free, waiting] = [acquire({ bindToSession: true }), acquire(), acquire({ ...WAIT, pool: 'default' })];
    client.send(bound, free);
    const results = await client.results(2);
    if (how !== 'finishes') {
      await store.updatePool({ pool: 'default', etag: '', change: { maxTotalLeases: 2 } });
      client.send(waiting);
      await expect.poll(async () => (await counts(store)).waiting).toBe(1);
    }
    expect(context.open.sessions).toBe(1);
    if (how === 'leaves') client.call.leave();
    if (how === 'is returned') await client.leave();
    if (how === 'finishes') {
      client.finish();
      await client.end();
    }
    if (how === 'breaks the protocol') {
      client.send();
      await expect(client.end()).rejects.toThrow('operations');
    }
    await expect
      .poll(async () => await counts(store))
      .toMatchObject({ acquired: 2, active: 1, released: 1, waiting: 0 });
    expect(context.open.sessions).toBe(0);
    const { leaseId } = leaseOf(results.get(free.correlationId));
    await expect(store.report(report(leaseId))).resolves.toMatchObject({ late: false });
    const late = leaseOf(results.get(bound.correlationId));
    await expect(store.report(report(late.leaseId))).resolves.toMatchObject({ late: true });
  },
);

test('a client that finishes is still answered what waits', async () => {
  const { store, context } = await started(1);
  const held = await store.acquire(acquireOrder());
  const client = new SessionClient(context);
  const waiting = acquire(WAIT);
  client.send(waiting);
  client.finish();
  await client.next();
  await expect.poll(async () => (await counts(store)).waiting).toBe(1);
  const end = client.end();
  await store.report(report(held.leaseId));
  await end;
  leaseOf((await client.results(1)).get(waiting.correlationId));
});

test('leases that the client never got are given back', async () => {
  const { store, context } = await started(4, 0);
  const client = new SessionClient(context);
  await client.next();
  client.send(acquire(), acquire({ requestId: 'again' }), acquire({ bindToSession: true }));
  await expect.poll(async () => (await counts(store)).active).toBe(3);
  client.call.leave();
  await expect.poll(async () => await counts(store)).toMatchObject({ active: 1, unused: 1, released: 1 });
});

test('a thousand acquires may wait; one more fails with QUEUE_FULL unless it can be served at once', async () => {
  const { store, context } = await started(1);
  const held = await store.acquire(acquireOrder());
  const client = new SessionClient(context);
  client.send(...Array.from({ length: 1_000 }, () => acquire(WAIT)));
  const [beyond, elsewhere] = [acquire(WAIT), acquire({ ...WAIT, pool: 'other' })];
  await store.createPool({
    pool: { ...(await store.listPools({ after: '', limit: 1 })).items[0]!, pool: 'other' },
    idempotency: undefined,
  });
  await store.importKeys(importOrder(['AQ.other-0001'], { pool: 'other' }));
  const reported = reportOf({ leaseId: held.leaseId, outcome: Outcome.SUCCESS });
  client.send(beyond, elsewhere);
  const results = await client.results(2);
  expect(reason(results.get(beyond.correlationId))).toBe('QUEUE_FULL');
  leaseOf(results.get(elsewhere.correlationId));
  client.send(reported);
  expect((await client.results(4)).get(reported.correlationId)?.case).toBe('report');
});

test('operations beyond the limit fail with QUEUE_FULL, and none is lost', async () => {
  const { store, context } = await started(1, 0);
  const { leaseId } = await store.acquire(acquireOrder());
  let commit = (): void => {};
  const committing = new Promise<void>((resolve) => {
    commit = resolve;
  });
  const slow = {
    renew: (order: RenewOrder) => committing.then(() => store.renew(order)),
    endSession: (sessionId: string) => store.endSession(sessionId),
  } as Store;
  const client = new SessionClient({ ...context, store: slow });
  for (let n = 0; n < 10; n++) client.send(...Array.from({ length: 1_000 }, () => renewOf(leaseId)));
  const [beyond, after] = [renewOf(leaseId), renewOf(leaseId)];
  client.send(beyond);
  expect(reason((await client.results(1)).get(beyond.correlationId))).toBe('QUEUE_FULL');
  commit();
  const results = [...(await client.results(10_001)).values()].map(reason);
  expect(results.filter((each) => each === 'renew')).toHaveLength(10_000);
  client.send(after);
  expect(reason((await client.results(10_002)).get(after.correlationId))).toBe('renew');
});

test('a client that does not read is not read from', async () => {
  const { store, context } = await started(1, 0);
  const client = new SessionClient(context);
  await client.next();
  for (let n = 0; n < 500; n++) client.send(...Array.from({ length: 100 }, () => acquire()));
  // Whatever else the server does meanwhile.
  for (let n = 0; n < 20; n++) await store.report(report((await store.acquire(acquireOrder())).leaseId));
  expect(client.read).toBeLessThanOrEqual(20);
  const results = await client.results(50_000);
  expect([...results.values()].every((result) => result?.case === 'acquire')).toBe(true);
  expect(client.read).toBe(500);
});

test('a draining server says goodbye, takes reports, and ends when nothing is open', async () => {
  const { store, context } = await started(2);
  const client = new SessionClient(context);
  const [taken, waiting] = [acquire({ bindToSession: true }), acquire({ ...WAIT, requireKeyId: 'key-00000001' })];
  client.send(taken);
  const lease = leaseOf((await client.results(1)).get(taken.correlationId));
  client.send(waiting);
  await expect.poll(async () => (await counts(store)).waiting).toBe(1);
  context.drain();
  store.drain();
  const goAway = await client.next();
  expect(goAway?.goAway?.grace?.seconds).toBe(5n);
  const late = acquire();
  client.send(late);
  const refused = await client.results(3);
  expect([waiting, late].map(({ correlationId }) => reason(refused.get(correlationId)))).toEqual([
    'DRAINING',
    'DRAINING',
  ]);
  const reported = reportOf({ leaseId: lease.leaseId, outcome: Outcome.SUCCESS });
  client.send(reported);
  expect((await client.results(4)).get(reported.correlationId)?.case).toBe('report');
  await client.end();
  expect(context.open.sessions).toBe(0);
  expect(await counts(store)).toMatchObject({ succeeded: 1, released: 0, late: 0 });
});

test('after the grace a draining server ends the stream whatever its client holds', async () => {
  const { store, context } = await started(1);
  const client = new SessionClient(context);
  client.send(acquire({ bindToSession: true }));
  await client.results(1);
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  context.drain();
  expect((await client.next())?.goAway).toBeDefined();
  const end = client.end();
  vi.advanceTimersByTime(5_000);
  vi.useRealTimers();
  await end;
  expect(await counts(store)).toMatchObject({ active: 0, released: 1 });
});

test('a session is not opened on a server that drains', async () => {
  const { context } = await started(1);
  context.drain();
  const stream = session(context, (async function* () {})(), caller());
  await expect(stream.next()).rejects.toMatchObject({ reason: 'DRAINING' });
});

test('a request stream that breaks is the end of the session, with its error', async () => {
  const { store, context } = await started(1);
  const broken = (async function* () {
    yield create(SessionRequestSchema, { operations: [acquire({ bindToSession: true })] });
    throw new Error('connection reset');
  })();
  const stream = session(context, broken, caller());
  await expect(
    (async () => {
      for await (const _ of stream);
    })(),
  ).rejects.toThrow('connection reset');
  expect(await counts(store)).toMatchObject({ acquired: 1, released: 1, active: 0 });
});
