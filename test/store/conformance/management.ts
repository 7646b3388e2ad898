import { describe, expect, test } from 'vitest';
import {
  HealthEventKind,
  ImportConflict,
  ImportStatus,
  KeyState,
} from '../../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import type { HealthChange } from '../../../src/store/store.ts';
import { acquireOrder, createKeyOrder, importOrder } from '../../support/orders.ts';
import { EVERY_KEY, reasonOf, StoreBench, type StorePlace } from './bench.ts';

const POOL = {
  pool: 'batch',
  defaultLeaseTtlMs: 60_000,
  maxLeaseTtlMs: 600_000,
  maxConcurrentLeases: 0,
  maxTotalLeases: 0,
  maxWaiting: 100,
  description: 'for jobs',
  autoSuccess: false,
  selection: 1,
} as const;

/** Keys and pools: kept, changed under an etag, counted, told to those who listen. */
export function managementConforms(newPlace: () => StorePlace): void {
  describe('management', () => {
    test('pool "default" is there from the first start, and no pool comes into being by being named', async () => {
      const bench = await StoreBench.open(newPlace());
      const order = { after: '', limit: 10 };
      expect((await bench.store.listPools(order)).items.map((each) => each.pool)).toEqual(['default']);
      expect(await reasonOf(bench.store.acquire(acquireOrder({ pool: 'other' })))).toBe('POOL_NOT_FOUND');
      expect(await reasonOf(bench.store.importKeys(importOrder(['AQ.key-a'], { pool: 'other' })))).toBe(
        'POOL_NOT_FOUND',
      );
      expect((await bench.store.listPools(order)).items).toHaveLength(1);
    });

    test('an import says what came of each key, and its repeat changes nothing', async () => {
      const bench = await StoreBench.open(newPlace());
      const first = await bench.store.importKeys(importOrder(['AQ.key-a', 'AQ.key-b', 'AQ.key-a']));
      expect(first.results.map((each) => each.status)).toEqual([
        ImportStatus.CREATED,
        ImportStatus.CREATED,
        ImportStatus.DUPLICATE_IN_REQUEST,
      ]);
      await bench.restart();
      const again = await bench.store.importKeys(importOrder(['AQ.key-a', 'AQ.key-c']));
      expect(again.results.map((each) => each.status)).toEqual([ImportStatus.UNCHANGED, ImportStatus.CREATED]);
      expect(again.results[0]!.keyId).toBe(first.results[0]!.keyId);
      expect(again.record).toMatchObject({ created: 1, unchanged: 1 });
      const past = await bench.store.listImports({ pool: '', after: '', limit: 10 });
      expect(past.items.map((each) => each.created)).toEqual([1, 2]);
    });

    test('an import that only checks changes nothing, one that updates overwrites', async () => {
      const bench = await StoreBench.open(newPlace());
      await bench.addKeys('AQ.key-a');
      const heavier = importOrder(['AQ.key-a', 'AQ.key-b'], { onConflict: ImportConflict.UPDATE });
      const items = heavier.items.map((item) => ('key' in item ? { key: { ...item.key, weight: 5 } } : item));
      await bench.store.importKeys({ ...heavier, items, validateOnly: true });
      expect((await bench.store.listKeys(EVERY_KEY)).items.map((key) => key.weight)).toEqual([1]);
      await bench.store.importKeys({ ...heavier, items });
      expect((await bench.store.listKeys(EVERY_KEY)).items.map((key) => key.weight)).toEqual([5, 5]);
    });

    test('a key is created once, and an update under an old etag is refused', async () => {
      const bench = await StoreBench.open(newPlace());
      const key = await bench.store.createKey(createKeyOrder('AQ.key-a', { project: 'p', tier: 2 }));
      expect(key).toMatchObject({ project: 'p', tier: 2, state: KeyState.AVAILABLE });
      expect(JSON.stringify(key)).not.toContain('AQ.key-a');
      expect(await reasonOf(bench.store.createKey(createKeyOrder('AQ.key-a')))).toBe('KEY_ALREADY_EXISTS');
      const update = { keyId: key.keyId, newApiKey: undefined, idempotency: undefined };
      const changed = await bench.store.updateKey({ ...update, etag: key.etag, change: { weight: 3 } });
      expect(changed.weight).toBe(3);
      const late = bench.store.updateKey({ ...update, etag: key.etag, change: { weight: 4 } });
      expect(await reasonOf(late)).toBe('ETAG_MISMATCH');
      await bench.restart();
      expect(await bench.store.getKey(key.keyId)).toMatchObject({
        weight: 3,
        project: 'p',
        tier: 2,
        etag: changed.etag,
      });
    });

    test('a disabled key is not leased, a rotated one is leased with its new secret', async () => {
      const bench = await StoreBench.open(newPlace());
      const [a, b] = await bench.addKeys('AQ.key-a', 'AQ.key-b');
      const change = { etag: '', idempotency: undefined };
      await bench.store.updateKey({ ...change, keyId: a!, change: { disabled: true }, newApiKey: undefined });
      await bench.store.updateKey({ ...change, keyId: b!, change: {}, newApiKey: 'AQ.key-new' });
      expect(await bench.picks(2)).toEqual([b, b]);
      expect((await bench.store.acquire(acquireOrder())).apiKey).toBe('AQ.key-new');
      await bench.restart();
      expect((await bench.store.acquire(acquireOrder())).apiKey).toBe('AQ.key-new');
    });

    test('a deleted key is gone, its leases end, its counts stay with the pool', async () => {
      const bench = await StoreBench.open(newPlace());
      const [keyId] = await bench.addKeys('AQ.key-a');
      await bench.picks(2);
      await bench.store.deleteKey({ keyId: keyId!, etag: '', allowMissing: false });
      expect(await reasonOf(bench.store.getKey(keyId!))).toBe('KEY_NOT_FOUND');
      expect(await reasonOf(bench.store.acquire(acquireOrder()))).toBe('POOL_EMPTY');
      await bench.restart();
      const { total } = await bench.store.stats({ pools: [], includeModels: false });
      expect(total).toMatchObject({ totalKeys: 0, activeLeases: 0, usage: { acquired: 2, released: 2 } });
      const [again] = await bench.addKeys('AQ.key-a');
      expect(again).not.toBe(keyId);
    });

    test('pools are kept apart, changed, and deleted only when empty', async () => {
      const bench = await StoreBench.open(newPlace());
      await bench.store.createPool({ pool: POOL, idempotency: undefined });
      expect(await reasonOf(bench.store.createPool({ pool: POOL, idempotency: undefined }))).toBe('KEY_ALREADY_EXISTS');
      const { results } = await bench.store.importKeys(importOrder(['AQ.key-a'], { pool: 'batch' }));
      expect(await reasonOf(bench.store.acquire(acquireOrder()))).toBe('POOL_EMPTY');
      await bench.store.updatePool({ pool: 'batch', etag: '', change: { maxTotalLeases: 1 } });
      await bench.restart();
      const lease = await bench.store.acquire(acquireOrder({ pool: 'batch' }));
      expect(lease.ttlMs).toBe(60_000);
      expect(await reasonOf(bench.store.acquire(acquireOrder({ pool: 'batch' })))).toBe('NO_KEY_AVAILABLE');
      expect(await reasonOf(bench.store.deletePool({ pool: 'batch', etag: '' }))).toBe('POOL_NOT_EMPTY');
      await bench.store.deleteKey({ keyId: results[0]!.keyId, etag: '', allowMissing: false });
      await bench.store.deletePool({ pool: 'batch', etag: '' });
      expect(await reasonOf(bench.store.deletePool({ pool: 'default', etag: '' }))).toBe('INVALID_FIELD');
    });

    test('keys are listed in the order of their ids, page by page, and by what is asked', async () => {
      const bench = await StoreBench.open(newPlace());
      const ids = await bench.addKeys('AQ.key-a', 'AQ.key-b', 'AQ.key-c');
      await bench.store.createKey(createKeyOrder('AQ.key-d', { project: 'p' }));
      const first = await bench.store.listKeys({ ...EVERY_KEY, limit: 2 });
      expect(first.items.map((key) => key.keyId)).toEqual(ids.slice(0, 2));
      expect(first.totalSize).toBe(4);
      const second = await bench.store.listKeys({ ...EVERY_KEY, limit: 2, after: first.next });
      expect(second.items[0]!.keyId).toBe(ids[2]);
      expect(second.next).toBe('');
      expect((await bench.store.listKeys({ ...EVERY_KEY, project: 'p' })).totalSize).toBe(1);
    });

    test('health changes are told in the order of their revisions, and what changed since one can be asked', async () => {
      const bench = await StoreBench.open(newPlace());
      const told: HealthChange[] = [];
      const stop = bench.store.subscribe((changes) => told.push(...changes));
      const [a, b] = await bench.addKeys('AQ.key-a', 'AQ.key-b');
      const { revision } = await bench.store.position();
      const change = { etag: '', newApiKey: undefined, idempotency: undefined, change: { disabled: true } };
      await bench.store.updateKey({ ...change, keyId: b! });
      await bench.store.deleteKey({ keyId: a!, etag: '', allowMissing: false });
      const ofKey = (keyId: string | undefined) => told.filter((each) => each.keyId === keyId).map((each) => each.kind);
      await expect
        .poll(() => [ofKey(a), ofKey(b)])
        .toEqual([
          [HealthEventKind.KEY_ADDED, HealthEventKind.KEY_REMOVED],
          [HealthEventKind.KEY_ADDED, HealthEventKind.KEY_CHANGED],
        ]);
      const revisions = told.map((each) => each.revision);
      expect(revisions).toEqual([...revisions].sort((x, y) => x - y));
      const query = { pools: [], sinceRevision: revision, after: '', limit: 10 };
      expect((await bench.store.healthPage(query)).items.map((key) => key.keyId)).toEqual([b]);
      expect((await bench.store.removedSince(revision))?.map((each) => each.keyId)).toEqual([a]);
      stop();
      await bench.store.updateKey({ ...change, keyId: b!, change: { disabled: false } });
      expect(told).toHaveLength(revisions.length);
    });
  });
}
