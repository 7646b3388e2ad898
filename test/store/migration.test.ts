import { renameSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { expect, test } from 'vitest';
import { plainFinding } from '../../src/gemini/finding.ts';
import { ErrorClass } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { type OwnedStore, openStore } from '../../src/store/open-store.ts';
import { MIGRATIONS } from '../../src/store/sqlite/migrations.ts';
import { acquireOrder, createKeyOrder, report } from '../support/orders.ts';
import { movedClock } from '../support/service.ts';
import { tempDir } from '../support/temp-dir.ts';
import { reasonOf } from './conformance/bench.ts';
import { FLASH, fail, PRO } from './judged-state.ts';

/** Makes of a database what a program of an earlier schema would have left: its tables and columns, with the same rows. */
function bringBack(dataDir: string, version: number): void {
  const path = join(dataDir, 'keybalancer.db');
  renameSync(path, `${path}.new`);
  const db = new Database(path);
  for (const step of MIGRATIONS.slice(0, version)) db.exec(step);
  db.pragma(`user_version = ${version}`);
  db.prepare('ATTACH ? AS newer').run(`${path}.new`);
  const tables = db.prepare("SELECT name FROM main.sqlite_schema WHERE type = 'table'").pluck().all() as string[];
  for (const table of tables) {
    const columns = (db.pragma(`main.table_info(${table})`) as { name: string }[]).map(({ name }) => name).join(', ');
    db.exec(`INSERT INTO main.${table} (${columns}) SELECT ${columns} FROM newer.${table}`);
  }
  db.close();
}

test('a database of schema version 1 opens, with its keys, leases and counts, and its cooldowns in force to the same end', async () => {
  const dataDir = tempDir();
  const clock = movedClock();
  const open = (): Promise<OwnedStore> => openStore({ dataDir, durability: 'normal', masterKey: {}, clock });
  const first = await open();
  const { keyId: own } = await first.createKey(createKeyOrder('AQ.test-migrated-1'));
  const { keyId: ofProject } = await first.createKey(createKeyOrder('AQ.test-migrated-2', { project: 'p' }));
  await fail(first, own, '', plainFinding(ErrorClass.PERMISSION, 'key'));
  await fail(first, ofProject, FLASH, plainFinding(ErrorClass.RATE_LIMITED_MINUTE, 'project-model', 90_000));
  const { leaseId } = await first.acquire(acquireOrder({ model: PRO }));
  const before = await Promise.all([own, ofProject].map((keyId) => first.getKey(keyId)));
  await first.close();
  bringBack(dataDir, 1);

  const store = await open();
  for (const key of before) {
    const after = await store.getKey(key.keyId);
    expect(after).toEqual({ ...key, revision: after.revision });
    expect(after.cooldowns).toHaveLength(1);
  }
  const { untilTime } = before[1]!.cooldowns[0]!;
  clock.move(untilTime - clock.wallOffset() - clock.now() - 1);
  const order = acquireOrder({ requireKeyId: ofProject, model: FLASH });
  expect(await reasonOf(store.acquire(order))).toBe('NO_KEY_AVAILABLE');
  clock.move(1.001);
  expect(await store.acquire(order)).toMatchObject({ apiKey: 'AQ.test-migrated-2' });
  // Version 1 knew of no strikes: this one is the first.
  await fail(store, ofProject, FLASH, plainFinding(ErrorClass.RATE_LIMITED_MINUTE, 'project-model', 90_000));
  const [again] = (await store.getKey(ofProject)).cooldowns;
  expect(again!.untilTime - clock.wallOffset() - clock.now()).toBeLessThan(100_000);
  expect(await store.report(report(leaseId))).toMatchObject({ duplicate: false, key: { usage: { succeeded: 1 } } });

  // It is a database of now: what version 1 knew nothing of is kept.
  await store.setQuota({ project: 'p', model: PRO, limits: { requestsPerDay: 0 } });
  await store.close();
  const last = await open();
  expect((await last.listQuotas({ project: '', after: '', limit: 10 })).items).toHaveLength(1);
  await last.close();
});
