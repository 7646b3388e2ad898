import { describe, expect, test } from 'vitest';
import { plainFinding } from '../../../src/gemini/finding.ts';
import { ErrorClass, KeyReuse, Outcome } from '../../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { acquireOrder, batchOrder, report } from '../../support/orders.ts';
import { reasonOf, StoreBench, type StorePlace } from './bench.ts';

const RATE_LIMITED = plainFinding(ErrorClass.RATE_LIMITED_MINUTE, 'project-model', 30_000);
const MODEL = 'gemini-2.5-flash';

/** Leases: given in turn, reported once, ended by time, replayed by request id. */
export function leasesConform(newPlace: () => StorePlace): void {
  describe('leases', () => {
    test('equal keys take turns, and a restart goes on where it stopped', async () => {
      const bench = await StoreBench.open(newPlace());
      const [a, b, c] = await bench.addKeys('AQ.key-a', 'AQ.key-b', 'AQ.key-c');
      expect(await bench.picks(4)).toEqual([a, b, c, a]);
      await bench.restart();
      expect(await bench.picks(3)).toEqual([b, c, a]);
      await bench.sums();
    });

    test('a lease brings the plaintext key, before and after a restart', async () => {
      const bench = await StoreBench.open(newPlace());
      await bench.addKeys('AQ.key-a');
      expect((await bench.store.acquire(acquireOrder())).apiKey).toBe('AQ.key-a');
      await bench.restart();
      expect((await bench.store.acquire(acquireOrder())).apiKey).toBe('AQ.key-a');
    });

    test('a report counts once, whoever repeats it, restarts included', async () => {
      const bench = await StoreBench.open(newPlace());
      await bench.addKeys('AQ.key-a');
      const { leaseId } = await bench.store.acquire(acquireOrder());
      const first = await bench.store.report(report(leaseId, { inputTokens: 7 }));
      expect(first).toMatchObject({ duplicate: false, late: false, key: { activeLeases: 0 } });
      expect(await bench.store.report(report(leaseId))).toMatchObject({ duplicate: true });
      await bench.restart();
      const again = await bench.store.report(report(leaseId));
      expect(again).toMatchObject({ duplicate: true, key: { usage: { succeeded: 1, calls: 1, inputTokens: 7 } } });
      await bench.sums();
    });

    test('reports at once on one lease are one report and its repeats', async () => {
      const bench = await StoreBench.open(newPlace());
      await bench.addKeys('AQ.key-a');
      const { leaseId } = await bench.store.acquire(acquireOrder());
      const answers = await Promise.all(Array.from({ length: 5 }, () => bench.store.report(report(leaseId))));
      expect(answers.filter((each) => !each.duplicate)).toHaveLength(1);
      await bench.sums();
    });

    test('an open lease is reported and renewed after a restart as before it', async () => {
      const bench = await StoreBench.open(newPlace());
      await bench.addKeys('AQ.key-a');
      const { leaseId } = await bench.store.acquire(acquireOrder());
      await bench.restart();
      expect((await bench.store.renew({ caller: 'local', leaseId, leaseTtlMs: 600_000 })).ttlMs).toBe(600_000);
      expect(await bench.store.report(report(leaseId))).toMatchObject({ duplicate: false, late: false });
    });

    test('an expired lease takes a late report for an hour, and no renewal', async () => {
      const bench = await StoreBench.open(newPlace());
      await bench.addKeys('AQ.key-a');
      const leases = [];
      for (let i = 0; i < 2; i++) leases.push(await bench.store.acquire(acquireOrder({ leaseTtlMs: 1_000 })));
      const [first, second] = leases;
      bench.pass(1_001);
      const { leaseId } = first!;
      expect(await reasonOf(bench.store.renew({ caller: 'local', leaseId, leaseTtlMs: undefined }))).toBe(
        'LEASE_EXPIRED',
      );
      expect((await bench.store.stats({ pools: [], includeModels: false })).total.usage.expired).toBe(2);
      expect(await bench.store.report(report(leaseId))).toMatchObject({ late: true, key: { usage: { late: 1 } } });
      bench.pass(3_600_000);
      expect(await reasonOf(bench.store.report(report(second!.leaseId)))).toBe('LEASE_NOT_FOUND');
      await bench.sums();
    });

    test('a lease belongs to its caller, and an id that was never given is none', async () => {
      const bench = await StoreBench.open(newPlace());
      await bench.addKeys('AQ.key-a');
      const { leaseId } = await bench.store.acquire(acquireOrder());
      expect(await reasonOf(bench.store.report(report(leaseId, { caller: 'other' })))).toBe('LEASE_NOT_OWNED');
      const forged = `${leaseId.slice(0, -2)}${leaseId.endsWith('AA') ? 'BB' : 'AA'}`;
      expect(await reasonOf(bench.store.report(report(forged)))).toBe('LEASE_NOT_FOUND');
    });

    test('a rate limit rests project and model for the stated time, across a restart', async () => {
      const bench = await StoreBench.open(newPlace());
      await bench.addKeys('AQ.key-a');
      const { leaseId } = await bench.store.acquire(acquireOrder({ model: MODEL }));
      const answer = await bench.store.report(report(leaseId, { outcome: Outcome.FAILURE, finding: RATE_LIMITED }));
      expect(answer).toMatchObject({ errorClass: ErrorClass.RATE_LIMITED_MINUTE, retryAdvice: { retry: true } });
      await bench.restart();
      expect(await reasonOf(bench.store.acquire(acquireOrder({ model: MODEL })))).toBe('NO_KEY_AVAILABLE');
      expect(await bench.picks(1, { model: 'gemini-2.5-pro' })).toHaveLength(1);
      bench.pass(30_001);
      expect(await bench.picks(1, { model: MODEL })).toHaveLength(1);
    });

    test('an acquire waits for a key that is reported, and one that is given up takes none', async () => {
      const bench = await StoreBench.open(newPlace());
      const [keyId] = await bench.addKeys('AQ.key-a');
      const change = { maxConcurrentLeases: 1 };
      await bench.store.updateKey({ keyId: keyId!, etag: '', change, newApiKey: undefined, idempotency: undefined });
      const { leaseId } = await bench.store.acquire(acquireOrder());
      const gone = new AbortController();
      const givenUp = bench.store.acquire(acquireOrder({ maxWaitMs: 60_000 }), gone.signal);
      const waiting = bench.store.acquire(acquireOrder({ maxWaitMs: 60_000 }));
      gone.abort();
      expect(await reasonOf(givenUp)).toBe('OPERATION_CANCELLED');
      await bench.store.report(report(leaseId));
      expect((await waiting).keyId).toBe(keyId);
      expect((await bench.store.stats({ pools: [], includeModels: false })).total).toMatchObject({
        activeLeases: 1,
        waitingAcquires: 0,
      });
    });

    test('batches have their sizes, and all is given or nothing', async () => {
      const bench = await StoreBench.open(newPlace());
      await bench.addKeys('AQ.key-a', 'AQ.key-b', 'AQ.key-c');
      const { batches } = await bench.store.acquireBatches(batchOrder({ batchSizes: [2, 5] }));
      expect(batches.map((batch) => batch.leases.length)).toEqual([2, 5]);
      const tooMany = batchOrder({ batchSizes: [2, 2], keyReuse: KeyReuse.UNIQUE });
      expect(await reasonOf(bench.store.acquireBatches(tooMany))).toBe('NO_MATCHING_KEY');
      expect((await bench.store.stats({ pools: [], includeModels: false })).total.activeLeases).toBe(7);
      await bench.sums();
    });

    test('a request id gets the first answer again, at once, later and after a restart, and no other content', async () => {
      const bench = await StoreBench.open(newPlace());
      await bench.addKeys('AQ.key-a', 'AQ.key-b');
      const idempotency = { caller: 'local', method: 'AcquireKey', requestId: 'r-1', contentHash: 'x' };
      const order = acquireOrder({ idempotency });
      const [first, joined] = await Promise.all([bench.store.acquire(order), bench.store.acquire(order)]);
      expect(joined.leaseId).toBe(first.leaseId);
      expect([first.replayed, joined.replayed]).toEqual([false, true]);
      await bench.restart();
      expect(await bench.store.acquire(order)).toMatchObject({
        keyId: first.keyId,
        apiKey: first.apiKey,
        replayed: true,
      });
      const other = acquireOrder({ idempotency: { ...idempotency, contentHash: 'y' } });
      expect(await reasonOf(bench.store.acquire(other))).toBe('REQUEST_ID_REUSED');
      await bench.store.report(report(first.leaseId));
      expect(await reasonOf(bench.store.acquire(order))).toBe('LEASE_EXPIRED');
    });

    test('the end of a session releases its leases', async () => {
      const bench = await StoreBench.open(newPlace());
      await bench.addKeys('AQ.key-a');
      const { leaseId } = await bench.store.acquire(acquireOrder({ sessionId: 's-1' }));
      await bench.store.endSession('s-1');
      expect((await bench.store.stats({ pools: [], includeModels: false })).total).toMatchObject({
        activeLeases: 0,
        usage: { released: 1 },
      });
      expect(await bench.store.report(report(leaseId))).toMatchObject({ late: true });
      await bench.sums();
    });

    test('the same affinity key gets the same key, after a restart too', async () => {
      const bench = await StoreBench.open(newPlace());
      await bench.addKeys('AQ.key-a', 'AQ.key-b', 'AQ.key-c');
      const [first] = await bench.picks(1, { affinityKey: 'chat 7' });
      await bench.picks(2);
      expect(await bench.picks(2, { affinityKey: 'chat 7' })).toEqual([first, first]);
      await bench.restart();
      expect(await bench.picks(1, { affinityKey: 'chat 7' })).toEqual([first]);
    });

    test('a draining store leases nothing and takes reports', async () => {
      const bench = await StoreBench.open(newPlace());
      await bench.addKeys('AQ.key-a');
      const { leaseId } = await bench.store.acquire(acquireOrder());
      bench.store.drain();
      expect(await reasonOf(bench.store.acquire(acquireOrder()))).toBe('DRAINING');
      expect(await bench.store.report(report(leaseId))).toMatchObject({ duplicate: false });
    });

    test('a repeat takes the place of a first call whose caller gave up', async () => {
      const bench = await StoreBench.open(newPlace());
      const [keyId] = await bench.addKeys('AQ.key-a');
      await bench.store.updatePool({ pool: 'default', etag: '', change: { maxTotalLeases: 1 } });
      const { leaseId } = await bench.store.acquire(acquireOrder());
      const idempotency = { caller: 'local', method: 'AcquireKey', requestId: 'r-2', contentHash: 'x' };
      const order = acquireOrder({ idempotency, maxWaitMs: 60_000 });
      const gone = new AbortController();
      const first = bench.store.acquire(order, gone.signal);
      const second = bench.store.acquire(order);
      gone.abort();
      expect(await reasonOf(first)).toBe('OPERATION_CANCELLED');
      await bench.store.report(report(leaseId));
      expect(await second).toMatchObject({ keyId, replayed: false });
      await bench.sums();
    });

    test('a repeat says as the first answer did whether the affinity key chose', async () => {
      const bench = await StoreBench.open(newPlace());
      await bench.addKeys('AQ.key-a');
      await bench.picks(1, { affinityKey: 'chat 7' });
      const idempotency = { caller: 'local', method: 'AcquireKey', requestId: 'r-3', contentHash: 'x' };
      const order = acquireOrder({ idempotency, affinityKey: 'chat 7' });
      const first = await bench.store.acquire(order);
      await bench.restart();
      const { waitedMs: _, ttlMs: __, ...again } = await bench.store.acquire(order);
      expect(first).toMatchObject({ ...again, affinityHit: true, replayed: false });
    });

    test('who waits is told at once when the last key is deleted', async () => {
      const bench = await StoreBench.open(newPlace());
      const [keyId] = await bench.addKeys('AQ.key-a');
      await bench.store.updatePool({ pool: 'default', etag: '', change: { maxTotalLeases: 1 } });
      await bench.picks(1);
      const waiting = bench.store.acquire(acquireOrder({ maxWaitMs: 3_600_000 }));
      await bench.store.deleteKey({ keyId: keyId!, etag: '', allowMissing: false });
      expect(await reasonOf(waiting)).toBe('POOL_EMPTY');
    });

    test('what was called with a key that was replaced since says nothing of its successor', async () => {
      const bench = await StoreBench.open(newPlace());
      const [keyId] = await bench.addKeys('AQ.key-a');
      const { leaseId } = await bench.store.acquire(acquireOrder());
      bench.pass(1);
      const update = { keyId: keyId!, etag: '', change: {}, newApiKey: 'AQ.key-new', idempotency: undefined };
      await bench.store.updateKey(update);
      const finding = plainFinding(ErrorClass.KEY_INVALID, 'key');
      const answer = await bench.store.report(report(leaseId, { outcome: Outcome.FAILURE, finding }));
      expect(answer.key).toMatchObject({ effectiveWeight: 1, cooldowns: [], usage: { failed: 1 } });
    });

    test('a limit rests at least a moment, and a spent day a minute, whatever delay is stated', async () => {
      const bench = await StoreBench.open(newPlace());
      await bench.addKeys('AQ.key-a');
      for (const [errorClass, restMs] of [
        [ErrorClass.RATE_LIMITED_MINUTE, 2_000],
        [ErrorClass.QUOTA_EXHAUSTED_DAY, 60_000],
      ] as const) {
        const { leaseId } = await bench.store.acquire(acquireOrder({ model: MODEL }));
        const finding = plainFinding(errorClass, 'project-model', 0);
        await bench.store.report(report(leaseId, { outcome: Outcome.FAILURE, finding }));
        bench.pass(restMs - 1);
        expect(await reasonOf(bench.store.acquire(acquireOrder({ model: MODEL })))).toBe('NO_KEY_AVAILABLE');
        bench.pass(1);
      }
      expect(await bench.picks(1, { model: MODEL })).toHaveLength(1);
    });
  });
}
