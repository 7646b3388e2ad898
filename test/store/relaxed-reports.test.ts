import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, onTestFinished, test } from 'vitest';
import { openStore } from '../../src/store/open-store.ts';
import { acquireOrder, createKeyOrder, report } from '../support/orders.ts';
import { tempDir } from '../support/temp-dir.ts';

async function storeWithLeases(count: number) {
  const store = await openStore({ dataDir: tempDir(), durability: 'normal', masterKey: {} });
  let closing: Promise<void> | undefined;
  const close = (): Promise<void> => {
    closing ??= store.close();
    return closing;
  };
  onTestFinished(close);
  await store.createKey(createKeyOrder('AQ.test-key-000001'));
  const leases: string[] = [];
  for (let i = 0; i < count; i++) leases.push((await store.acquire(acquireOrder())).leaseId);
  const commits = async (): Promise<number> => (await store.stats({ pools: [], includeModels: false })).commits.count;
  return { store, leases, commits, close };
}

test('reports that nobody waits for share a commit, also those of different turns of the event loop', async () => {
  const { store, leases, commits } = await storeWithLeases(20);
  const before = await commits();
  const reports = [];
  for (const leaseId of leases) {
    reports.push(store.report(report(leaseId, { relaxed: true })));
    await nextTurn();
  }
  await Promise.all(reports);
  // One or two on a machine that has time, and not one each on any.
  expect((await commits()) - before).toBeLessThanOrEqual(10);
  const { total } = await store.stats({ pools: [], includeModels: false });
  expect(total.usage.succeeded).toBe(20);
});

test('a report that somebody waits for takes those along that nobody waits for', async () => {
  const { store, leases, commits } = await storeWithLeases(2);
  const ended: string[] = [];
  const before = await commits();
  const relaxed = store.report(report(leases[0]!, { relaxed: true })).then(() => ended.push('relaxed'));
  await store.report(report(leases[1]!)).then(() => ended.push('awaited'));
  await relaxed;
  expect(ended).toEqual(['relaxed', 'awaited']);
  expect((await commits()) - before).toBe(1);
});

test('closing the store stores what nobody waited for', async () => {
  const { store, leases, close } = await storeWithLeases(1);
  const reporting = store.report(report(leases[0]!, { relaxed: true }));
  await close();
  expect(await reporting).toMatchObject({ duplicate: false });
});
