import { expect, test } from 'vitest';
import { Outcome } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { LeaseIds } from '../../src/store/lease-id.ts';
import { SecretCache } from '../../src/store/secret-cache.ts';
import { type Journal, JournalError } from '../../src/store/sqlite/journal.ts';
import { openJournal } from '../../src/store/sqlite/open-journal.ts';
import { SqliteStore } from '../../src/store/sqlite/sqlite-store.ts';
import type { Store } from '../../src/store/store.ts';
import { Vault } from '../../src/store/vault.ts';
import { acquireOrder, createKeyOrder, importOrder, report } from '../support/orders.ts';
import { movedClock } from '../support/service.ts';
import { tempDir } from '../support/temp-dir.ts';

const all = { pool: '', keyId: '', after: '', limit: 100 };

/** What management leaves in the file, with a disk that can be made to take no more. */
async function openOn(dataDir: string): Promise<{ store: Store; disk: { full: boolean } }> {
  const journal: Journal = await openJournal({ dataDir, durability: 'normal' });
  const disk = { full: false };
  const commit = journal.commit.bind(journal);
  journal.commit = (rows) => (disk.full ? Promise.reject(new JournalError('disk full')) : commit(rows));
  const vault = new Vault(Buffer.alloc(32, 1));
  const leaseIds = new LeaseIds(vault.subkey('sign leases'));
  const options = { journal, vault, leaseIds, secrets: new SecretCache(), clock: movedClock() };
  const store = await SqliteStore.open({ ...options, verify: false, probe: undefined });
  return { store, disk };
}

test('the commit that deletes a key says how its leases count, so that a crash right after it loses none', async () => {
  const dataDir = tempDir();
  const { store, disk } = await openOn(dataDir);
  const { keyId } = await store.createKey(createKeyOrder('AQ.test-key-000001'));
  await store.acquire(acquireOrder({ model: 'pro' }));
  const kept = await store.acquire(acquireOrder({ model: 'flash' }));
  const idempotency = { caller: 'local', method: 'ReportResult', requestId: 'r', contentHash: 'h' };
  await store.report(report(kept.leaseId, { outcome: Outcome.SUCCESS, keepLease: true, idempotency }));
  await store.deleteKey({ keyId, etag: '', allowMissing: false });
  // What follows the deletion is never stored, as after a crash.
  disk.full = true;
  const before = await store.stats({ pools: [], includeModels: true });
  await store.close();
  const { store: again } = await openOn(dataDir);
  const after = await again.stats({ pools: [], includeModels: true });
  expect(after.total.usage).toEqual(before.total.usage);
  expect(after.total.usage).toMatchObject({ acquired: 2, released: 1, succeeded: 1 });
  const byModel = ({ pools }: typeof before) => new Map(pools[0]!.models.map(({ model, usage }) => [model, usage]));
  expect(byModel(after)).toEqual(byModel(before));
  await again.close();
});

test('a revocation that could not be stored leaves no trace', async () => {
  const { store, disk } = await openOn(tempDir());
  const { keyId } = await store.createKey(createKeyOrder('AQ.test-key-000001', { maxConcurrentLeases: 1 }));
  const { leaseId } = await store.acquire(acquireOrder());
  const [lease] = (await store.listLeases(all)).items;
  const key = await store.getKey(keyId);
  disk.full = true;
  await expect(store.revokeLease(lease!.leaseRef)).rejects.toMatchObject({ reason: 'STORE_UNAVAILABLE' });
  expect((await store.listLeases(all)).items).toEqual([lease]);
  expect(await store.getKey(keyId)).toEqual(key);
  disk.full = false;
  expect(await store.report(report(leaseId))).toMatchObject({ late: false, duplicate: false });
  await store.close();
});

test('what could not be stored is not there, and its request id is free again', async () => {
  const { store, disk } = await openOn(tempDir());
  const { keyId } = await store.createKey(createKeyOrder('AQ.test-key-000001'));
  const key = await store.getKey(keyId);
  const of = (method: string) => ({ caller: 'local', method, requestId: 'r-1', contentHash: method });
  const work = {
    create: () => store.createKey({ ...createKeyOrder('AQ.test-key-000002'), idempotency: of('CreateKey') }),
    update: () =>
      store.updateKey({ keyId, etag: '', change: { weight: 2 }, newApiKey: undefined, idempotency: of('UpdateKey') }),
    import: () => store.importKeys({ ...importOrder(['AQ.test-key-000003']), idempotency: of('ImportKeys') }),
  };
  disk.full = true;
  for (const attempt of Object.values(work)) {
    await expect(attempt()).rejects.toMatchObject({ reason: 'STORE_UNAVAILABLE' });
  }
  await expect(store.deleteKey({ keyId, etag: '', allowMissing: false })).rejects.toThrow();
  await expect(store.resetKey(keyId)).rejects.toThrow();
  expect(await store.getKey(keyId)).toEqual(key);
  // A check needs no disk.
  const check = await store.importKeys(importOrder(['AQ.test-key-000003'], { validateOnly: true }));
  expect(check.record.created).toBe(1);
  disk.full = false;
  expect(await work.create()).toMatchObject({ replayed: false, redactedKey: 'AQ…02' });
  expect(await work.update()).toMatchObject({ replayed: false, weight: 2 });
  expect(await work.import()).toMatchObject({ replayed: false, record: { created: 1 } });
  expect(await work.import()).toMatchObject({ replayed: true, record: { created: 1 } });
  await store.close();
});
