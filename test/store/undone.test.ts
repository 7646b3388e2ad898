import { expect, onTestFinished, test } from 'vitest';
import { type Finding, plainFinding } from '../../src/gemini/finding.ts';
import { ErrorClass, KeyState, Outcome } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { LeaseIds } from '../../src/store/lease-id.ts';
import { SecretCache } from '../../src/store/secret-cache.ts';
import { JournalError } from '../../src/store/sqlite/journal.ts';
import { openJournal } from '../../src/store/sqlite/open-journal.ts';
import { SqliteStore } from '../../src/store/sqlite/sqlite-store.ts';
import type { Report, Store } from '../../src/store/store.ts';
import { Vault } from '../../src/store/vault.ts';
import { acquireOrder, createKeyOrder, report } from '../support/orders.ts';
import { tempDir } from '../support/temp-dir.ts';
import { reasonOf } from './conformance/bench.ts';
import { FLASH, fail, PRO, pictureOf } from './judged-state.ts';

/** A store on a disk that can be made to take no more. */
class Disk {
  full = false;
  /** Of the commits to come, which one fails; 0: none. */
  failsIn = 0;
  store!: Store;
  now = 1_000;
  readonly #dataDir = tempDir();

  async open(): Promise<this> {
    const journal = await openJournal({ dataDir: this.#dataDir, durability: 'normal' });
    const commit = journal.commit.bind(journal);
    journal.commit = (rows) =>
      this.full || --this.failsIn === 0 ? Promise.reject(new JournalError('disk full')) : commit(rows);
    const vault = new Vault(Buffer.alloc(32, 1));
    this.store = await SqliteStore.open({
      journal,
      vault,
      leaseIds: new LeaseIds(vault.subkey('sign leases')),
      secrets: new SecretCache(),
      clock: { now: () => this.now, wallOffset: () => 1_764_000_000_000 },
      random: () => 0.5,
      verify: true,
      probe: async () => ({ latencyMs: 1, error: { httpStatus: 503 } }),
    });
    return this;
  }

  async restart(): Promise<void> {
    await this.store.close();
    await this.open();
  }

  /** Stores what nobody waits for. */
  async flush(): Promise<void> {
    await this.store.deleteQuota({ project: 'nobody', model: '' });
  }
}

const plain = plainFinding;
const { FAILURE, SUCCESS, UNUSED } = Outcome;
const limits = [{ name: 'requestsPerMinute' as const, value: 3, quotaId: '', model: '' }];
const failure = (finding: Finding): Partial<Report> => ({ outcome: FAILURE, finding });

const REPORTS: [string, Partial<Report>][] = [
  ['a key without permission', failure(plain(ErrorClass.PERMISSION, 'key'))],
  ['a project without money', failure(plain(ErrorClass.BILLING, 'project'))],
  ['a spent day', failure(plain(ErrorClass.QUOTA_EXHAUSTED_DAY, 'project-model', 90_000))],
  ['a full minute, with its limit', failure({ ...plain(ErrorClass.RATE_LIMITED_MINUTE, 'project-model'), limits })],
  ['an invalid key', failure(plain(ErrorClass.KEY_INVALID, 'key'))],
  ['a suspended project', failure(plain(ErrorClass.KEY_SUSPENDED, 'project'))],
  ['an overloaded model', failure(plain(ErrorClass.OVERLOADED))],
  ['an absurd delay', failure({ ...plain(ErrorClass.RATE_LIMITED_MINUTE, 'project', 1e9), delayDistrusted: true })],
  ['a project number', failure({ ...plain(ErrorClass.PERMISSION, 'project'), project: '123456789012' })],
  ['a bad prompt', failure(plain(ErrorClass.BAD_REQUEST))],
  ['a call that worked', { outcome: SUCCESS, inputTokens: 77 }],
  ['a lease that was not used', { outcome: UNUSED }],
];

test.each(REPORTS)('a report of %s that cannot be stored leaves no trace, now and after a restart', async (_, told) => {
  const disk = await new Disk().open();
  onTestFinished(() => disk.store.close());
  const { store } = disk;
  const { keyId } = await store.createKey(
    createKeyOrder('AQ.test-undone-1', { project: told.finding?.project ? '' : 'p' }),
  );
  await store.createKey(createKeyOrder('AQ.test-undone-2', { project: 'p' }));
  const project = (await store.getKey(keyId)).quotaProject || keyId;
  await store.setQuota({ project, model: FLASH, limits: { requestsPerMinute: 10, inputTokensPerMinute: 1_000 } });
  // The lease under test tries a half-open rest, among rests of every kind that its success would end.
  const kept = await store.acquire(acquireOrder({ requireKeyId: keyId, model: PRO }));
  await fail(store, keyId, FLASH, plain(ErrorClass.QUOTA_EXHAUSTED_DAY, 'project-model', 60_000));
  disk.now += 61_000;
  const order = acquireOrder({ requireKeyId: keyId, model: FLASH, estimatedTokens: 40 });
  const { leaseId } = await store.acquire(order);
  await disk.flush();

  const before = await pictureOf(store);
  disk.full = true;
  expect(await reasonOf(store.report(report(leaseId, told)))).toBe('STORE_UNAVAILABLE');
  disk.full = false;
  await disk.flush();
  expect(await pictureOf(store)).toEqual(before);
  // It is still the one that tries.
  expect(await reasonOf(store.acquire(order))).toBe('NO_KEY_AVAILABLE');
  await disk.restart();
  expect(await pictureOf(disk.store)).toEqual(before);
  // And it is taken when it comes again.
  const again = await disk.store.report(report(leaseId, told));
  expect(again).toMatchObject({ duplicate: false, late: false });
  await disk.store.report(report(kept.leaseId));
});

test('a cooldown that takes the place of another in a full list gives it back', async () => {
  const disk = await new Disk().open();
  onTestFinished(() => disk.store.close());
  const { store } = disk;
  const { keyId } = await store.createKey(createKeyOrder('AQ.test-undone-1', { project: 'p' }));
  const minutes = (n: number): Finding => plain(ErrorClass.RATE_LIMITED_MINUTE, 'project-model', n * 60_000);
  for (let n = 0; n < 64; n++) await fail(store, keyId, `model-${n}`, minutes(1 + (n % 10)));
  const { leaseId } = await store.acquire(acquireOrder({ requireKeyId: keyId, model: 'one-too-many' }));
  await disk.flush();
  const before = await pictureOf(store);
  disk.full = true;
  expect(await reasonOf(store.report(report(leaseId, failure(minutes(9)))))).toBe('STORE_UNAVAILABLE');
  disk.full = false;
  await disk.flush();
  expect(await pictureOf(store)).toEqual(before);
  await disk.restart();
  expect(await pictureOf(disk.store)).toEqual(before);
});

test('a report is stored though what it taught of projects is not; that is written later', async () => {
  const disk = await new Disk().open();
  onTestFinished(() => disk.store.close());
  const { keyId } = await disk.store.createKey(createKeyOrder('AQ.test-undone-1'));
  const { leaseId } = await disk.store.acquire(acquireOrder());
  await disk.flush();
  disk.failsIn = 2;
  const finding = { ...plain(ErrorClass.SERVER_ERROR), project: '123456789012' };
  expect(await disk.store.report(report(leaseId, failure(finding)))).toMatchObject({
    duplicate: false,
    key: { quotaProject: '123456789012' },
  });
  await disk.flush();
  await disk.restart();
  expect(await disk.store.getKey(keyId)).toMatchObject({ quotaProject: '123456789012', usage: { failed: 1 } });
});

test('limits that cannot be stored are not set, and those that cannot be forgotten stay', async () => {
  const disk = await new Disk().open();
  onTestFinished(() => disk.store.close());
  await disk.store.setQuota({ project: 'p', model: FLASH, limits: { requestsPerDay: 1 } });
  const before = await pictureOf(disk.store);
  disk.full = true;
  const refused = [
    disk.store.setQuota({ project: 'p', model: FLASH, limits: { requestsPerDay: 2 } }),
    disk.store.setQuota({ project: 'q', model: PRO, limits: { requestsPerDay: 3 } }),
    disk.store.setQuota({ project: 'q', model: '', limits: { requestsPerDay: 3 } }),
    disk.store.deleteQuota({ project: 'p', model: FLASH }),
  ];
  for (const each of refused) expect(await reasonOf(each)).toBe('STORE_UNAVAILABLE');
  disk.full = false;
  await disk.flush();
  expect(await pictureOf(disk.store)).toEqual(before);
  await disk.restart();
  expect(await pictureOf(disk.store)).toEqual(before);
});

test('a reset that cannot be stored leaves quarantine and cooldowns as they were', async () => {
  const disk = await new Disk().open();
  onTestFinished(() => disk.store.close());
  const { keyId } = await disk.store.createKey(createKeyOrder('AQ.test-undone-1'));
  await fail(disk.store, keyId, FLASH, plain(ErrorClass.KEY_INVALID, 'key'));
  const before = await pictureOf(disk.store);
  disk.full = true;
  expect(await reasonOf(disk.store.resetKey(keyId))).toBe('STORE_UNAVAILABLE');
  disk.full = false;
  await disk.flush();
  expect(await pictureOf(disk.store)).toEqual(before);
  expect((await disk.store.getKey(keyId)).state).toBe(KeyState.QUARANTINED);
});

test('a lease that a crash took says nothing of what happened since the restart', async () => {
  const disk = await new Disk().open();
  onTestFinished(() => disk.store.close());
  const { keyId } = await disk.store.createKey(createKeyOrder('AQ.test-undone-1', { project: 'p' }));
  disk.full = true;
  const { leaseId } = await disk.store.acquire(acquireOrder({ model: FLASH }));
  await disk.store.close();
  disk.full = false;
  await disk.open();
  disk.now += 1_000;
  await fail(disk.store, keyId, FLASH, plain(ErrorClass.RATE_LIMITED_MINUTE, 'project-model', 60_000));
  disk.now += 1_000;
  const { key } = await disk.store.report(report(leaseId));
  expect(key).toMatchObject({ usage: { succeeded: 1 }, cooldowns: [{ model: FLASH }] });
});
