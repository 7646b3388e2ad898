import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { describe, expect, test } from 'vitest';
import type { Rows } from '../../src/store/sqlite/journal.ts';
import { openJournal } from '../../src/store/sqlite/open-journal.ts';
import { loadAll } from '../support/journals.ts';
import { cooldownRow, everyKindOfRow, keyRow, leaseRow, TIME } from '../support/rows.ts';
import { tempDir } from '../support/temp-dir.ts';

/** Commits in one run, and gives what the next one loads. */
async function afterRestart(dataDir: string, ...commits: Rows[]): Promise<Rows> {
  const writer = await openJournal({ dataDir, durability: 'full' });
  for (const rows of commits) await writer.commit(rows);
  await writer.close();
  const reader = await openJournal({ dataDir, durability: 'normal' });
  const rows = await loadAll(reader);
  await reader.close();
  return rows;
}

describe('journal', () => {
  test('gives back every kind of row as it was committed', async () => {
    const { meta, leases, ...loaded } = await afterRestart(tempDir(), everyKindOfRow(1));
    const { meta: _, leases: committed, ...expected } = everyKindOfRow(1);
    expect(loaded).toEqual(expected);
    expect(meta).toMatchObject({ note: 'kept' });
    expect(leases).toEqual(committed?.toReversed());
  });

  test('has nothing to say of a fresh file but its identity', async () => {
    const journal = await openJournal({ dataDir: tempDir(), durability: 'full' });
    expect(await loadAll(journal)).toEqual({ meta: { store_id: journal.storeId }, revision: 0 });
    await journal.close();
  });

  test('writing the same rows twice is writing them once', async () => {
    const rows = everyKindOfRow(1);
    const { meta: _, ...once } = await afterRestart(tempDir(), rows);
    const { meta: __, ...twice } = await afterRestart(tempDir(), rows, rows);
    expect(twice).toEqual(once);
  });

  test('a later row of the same name replaces the earlier one', async () => {
    const loaded = await afterRestart(
      tempDir(),
      { keys: [keyRow(1)], leases: [leaseRow(1, 1)] },
      { keys: [keyRow(1, { weight: 7 })], leases: [leaseRow(1, 1, { state: 3 })] },
    );
    expect(loaded.keys).toEqual([keyRow(1, { weight: 7 })]);
    expect(loaded.leases).toEqual([leaseRow(1, 1, { state: 3 })]);
  });

  test('what a commit both writes and ends is gone', async () => {
    const cooldown = { ownerKind: 'key', owner: '1', model: '' } as const;
    const loaded = await afterRestart(tempDir(), {
      leases: [leaseRow(1, 1), leaseRow(1, 2)],
      endedLeases: [{ boot: 1, seq: 1 }],
      cooldowns: [cooldownRow(cooldown)],
      endedCooldowns: [cooldown],
      affinities: [{ pool: 'default', affinityKey: 'a', ordinal: 1, time: TIME }],
      droppedAffinities: [{ pool: 'default', affinityKey: 'a' }],
    });
    expect(loaded.leases?.map((lease) => lease.seq)).toEqual([2]);
    expect(loaded.cooldowns).toBeUndefined();
    expect(loaded.affinities).toBeUndefined();
  });

  test('a lane that is dropped takes its turns along', async () => {
    const lane = (id: number) => ({
      lane: id,
      pool: 'default',
      model: `m${id}`,
      virtualTimes: [0],
      picks: 0,
      current: '',
    });
    const turn = (id: number) => ({ lane: id, ordinal: 1, pass: 0, lastPick: 0 });
    const loaded = await afterRestart(
      tempDir(),
      { lanes: [lane(1), lane(2)], turns: [turn(1), turn(2)] },
      { droppedLanes: [1] },
    );
    expect(loaded.lanes).toEqual([lane(2)]);
    expect(loaded.turns).toEqual([turn(2)]);
  });

  test('a deleted key takes all its rows along, and nobody else’s', async () => {
    const rows = everyKindOfRow(1);
    const ofOther: Rows = {
      keys: [keyRow(2)],
      health: [{ ...rows.health![0]!, ordinal: 2 }],
      usage: [{ ...rows.usage![0]!, ordinal: 2 }],
      status: [{ ...rows.status![0]!, ordinal: 2 }],
      cooldowns: [cooldownRow({ owner: '2' })],
      quotas: [{ ...rows.quotas![1]!, owner: '2' }],
      meters: [{ ...rows.meters![0]!, owner: '2' }],
      turns: [{ lane: 1, ordinal: 2, pass: 0, lastPick: 0 }],
      leases: [leaseRow(1, 18, { ordinal: 2 })],
      affinities: [{ pool: 'default', affinityKey: 'b', ordinal: 2, time: TIME }],
    };
    const loaded = await afterRestart(tempDir(), rows, ofOther, { deletedKeys: [1] });
    const ofNoKey = (each: { ownerKind: string }): boolean =>
      each.ownerKind === 'model' || each.ownerKind === 'project';
    expect(loaded).toMatchObject({
      ...ofOther,
      cooldowns: [...ofOther.cooldowns!, ...rows.cooldowns!.filter(ofNoKey)],
      quotas: [...rows.quotas!.filter(ofNoKey), ...ofOther.quotas!],
    });
  });

  test('a deleted pool takes its settings, counts, lanes and affinities along', async () => {
    const loaded = await afterRestart(tempDir(), everyKindOfRow(1), { deletedPools: ['default'] });
    for (const kind of ['pools', 'poolUsage', 'modelUsage', 'lanes', 'turns', 'affinities'] as const) {
      expect(loaded[kind], kind).toBeUndefined();
    }
  });

  test('forgets what it is told is too old, and no more', async () => {
    const replay = (time: number) => ({ ...everyKindOfRow(1).replays![0]!, requestId: `at ${time}`, time });
    const loaded = await afterRestart(
      tempDir(),
      {
        replays: [replay(99), replay(100)],
        reclaimed: [
          { boot: 1, seq: 1, forgetTime: 99 },
          { boot: 1, seq: 2, forgetTime: 100 },
        ],
        removedKeys: [
          { ordinal: 1, pool: 'default', revision: 100 },
          { ordinal: 2, pool: 'default', revision: 101 },
        ],
      },
      { prune: { replays: 100, reclaimed: 100, removedKeys: 100 } },
    );
    expect(loaded.replays).toEqual([replay(100)]);
    expect(loaded.reclaimed).toEqual([{ boot: 1, seq: 2, forgetTime: 100 }]);
    expect(loaded.removedKeys).toEqual([{ ordinal: 2, pool: 'default', revision: 101 }]);
  });

  test('counts its boots, tells of the earlier ones, and keeps its identity', async () => {
    const dataDir = tempDir();
    const ids = new Set<string>();
    for (const boot of [1, 2, 3]) {
      const journal = await openJournal({ dataDir, durability: 'full' });
      expect(journal.boot).toBe(boot);
      ids.add(journal.storeId);
      const { boots } = await loadAll(journal);
      expect(boots?.map((each) => [each.boot, each.watermark]) ?? []).toEqual([
        ...(boot > 1 ? [[1, 10]] : []),
        ...(boot > 2 ? [[2, 20]] : []),
      ]);
      await journal.commit({ boots: [{ boot, startTime: TIME, watermark: boot * 10 }] });
      await journal.close();
    }
    expect(ids.size).toBe(1);
    const last = await openJournal({ dataDir, durability: 'full' });
    await last.commit({ prune: { boots: 3 } });
    await last.close();
    const next = await openJournal({ dataDir, durability: 'full' });
    expect(next.boot).toBe(5);
    expect((await loadAll(next)).boots?.map((each) => each.boot)).toEqual([3, 4]);
    await next.close();
  });

  test('loads many rows in parts of bounded size, parents before children', async () => {
    const dataDir = tempDir();
    const writer = await openJournal({ dataDir, durability: 'normal' });
    const leases = Array.from({ length: 12_001 }, (_, index) => leaseRow(1, index + 1));
    await writer.commit({ ...everyKindOfRow(1), leases });
    await writer.close();
    const reader = await openJournal({ dataDir, durability: 'normal' });
    const kinds: string[] = [];
    let loaded = 0;
    for await (const part of reader.load()) {
      kinds.push(...Object.keys(part));
      loaded += part.leases?.length ?? 0;
      expect(part.leases?.length ?? 0).toBeLessThanOrEqual(5_000);
    }
    await reader.close();
    expect(loaded).toBe(12_001);
    const order = ['pools', 'keys', 'turns', 'leases'].map((kind) => kinds.indexOf(kind));
    expect(order).toEqual(order.toSorted((a, b) => a - b));
  });

  test('commits in the order of the calls, waited for or not', async () => {
    const dataDir = tempDir();
    const writer = await openJournal({ dataDir, durability: 'normal' });
    const commits = Array.from({ length: 200 }, (_, index) => writer.commit({ revision: index + 1 }));
    const ended = writer.commit({ leases: [leaseRow(1, 1)] });
    await Promise.all([...commits, ended, writer.commit({ endedLeases: [{ boot: 1, seq: 1 }] })]);
    await writer.close();
    const reader = await openJournal({ dataDir, durability: 'normal' });
    expect(await loadAll(reader)).toMatchObject({ revision: 200 });
    await reader.close();
  });

  test('a commit is kept whole or not at all, and the next one works', async () => {
    const dataDir = tempDir();
    const writer = await openJournal({ dataDir, durability: 'normal' });
    await writer.commit({ keys: [keyRow(1)] });
    // Another key of the same fingerprint cannot be: the last of these rows refuses the others too.
    const twin = keyRow(2, { fingerprint: 'fingerprint-1' });
    await expect(writer.commit({ revision: 7, pools: everyKindOfRow(1).pools!, keys: [twin] })).rejects.toMatchObject({
      name: 'JournalError',
    });
    await writer.commit({ meta: { after: 'yes' } });
    await writer.close();
    const reader = await openJournal({ dataDir, durability: 'normal' });
    const { keys, pools, revision, meta } = await loadAll(reader);
    await reader.close();
    expect({ keys, pools, revision }).toEqual({ keys: [keyRow(1)], pools: undefined, revision: 0 });
    expect(meta).toMatchObject({ after: 'yes' });
  });

  test('keeps a sealed secret apart from its key, until another takes its place', async () => {
    const journal = await openJournal({ dataDir: tempDir(), durability: 'full' });
    const sealed = Uint8Array.of(1, 2, 3, 250);
    await journal.commit({ keys: [keyRow(1, { sealed })] });
    expect(await journal.readSecret(1)).toEqual(sealed);
    await journal.commit({ keys: [keyRow(1, { weight: 2 })] });
    expect(await journal.readSecret(1)).toEqual(sealed);
    await journal.commit({ keys: [keyRow(1, { sealed: Uint8Array.of(9) })] });
    expect(await journal.readSecret(1)).toEqual(Uint8Array.of(9));
    await journal.commit({ deletedKeys: [1] });
    expect(await journal.readSecret(1)).toBeUndefined();
    await journal.close();
  });

  test('leaves nothing of a deleted secret in the file', async () => {
    const dataDir = tempDir();
    const sealed = Buffer.from('sealed-bytes-that-nothing-else-looks-like');
    const loaded = await afterRestart(dataDir, { keys: [keyRow(1, { sealed })] }, { deletedKeys: [1] });
    expect(loaded.keys).toBeUndefined();
    for (const name of readdirSync(dataDir)) {
      expect(readFileSync(join(dataDir, name)).includes(sealed), name).toBe(false);
    }
  });

  test('lists imports newest first, page by page, of one pool or all', async () => {
    const journal = await openJournal({ dataDir: tempDir(), durability: 'normal' });
    const imports = Array.from({ length: 7 }, (_, index) => ({
      id: index + 1,
      pool: index % 2 === 0 ? 'default' : 'other',
      source: 'keys.txt',
      importTime: TIME + index,
      created: 1,
      updated: 2,
      unchanged: 3,
      rejected: 4,
    }));
    await journal.commit({ imports });
    const ids = async (pool: string, before: number): Promise<number[]> =>
      (await journal.readImports({ pool, before, limit: 3 })).map((row) => row.id);
    expect(await ids('', 0)).toEqual([7, 6, 5]);
    expect(await ids('', 5)).toEqual([4, 3, 2]);
    expect(await ids('other', 0)).toEqual([6, 4, 2]);
    expect(await ids('default', 5)).toEqual([3, 1]);
    expect(await ids('none', 0)).toEqual([]);
    expect(await journal.readImports({ pool: '', before: 2, limit: 1 })).toEqual([imports[0]]);
    await journal.close();
  });

  test('its log does not grow with the number of commits', async () => {
    const dataDir = tempDir();
    const journal = await openJournal({ dataDir, durability: 'normal' });
    let seq = 0;
    for (let commit = 0; commit < 300; commit++) {
      const leases = Array.from({ length: 100 }, () => leaseRow(1, ++seq));
      const endedLeases = leases.map((lease) => ({ boot: 1, seq: lease.seq - 100 }));
      await journal.commit({ leases, endedLeases });
    }
    // 30,000 leases of 100 bytes each passed through it.
    expect(statSync(join(dataDir, 'keybalancer.db-wal')).size).toBeLessThan(8 * 2 ** 20);
    expect(await journal.sizeBytes()).toBeLessThan(10 * 2 ** 20);
    await journal.close();
    expect(readdirSync(dataDir)).toEqual(['keybalancer.db']);
  });

  test('rejects whatever comes after close', async () => {
    const journal = await openJournal({ dataDir: tempDir(), durability: 'normal' });
    await journal.close();
    await expect(journal.commit({ revision: 1 })).rejects.toMatchObject({ name: 'JournalError' });
    await expect(journal.readSecret(1)).rejects.toMatchObject({ name: 'JournalError' });
  });
});

describe('schema', () => {
  test('has the tables that others may look for', async () => {
    const dataDir = tempDir();
    await (await openJournal({ dataDir, durability: 'normal' })).close();
    const db = new Database(join(dataDir, 'keybalancer.db'), { readonly: true });
    const names = db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").pluck().all();
    expect(names).toEqual(expect.arrayContaining(['api_keys', 'import_history', 'key_usage']));
    expect(db.pragma('user_version', { simple: true })).toBe(2);
    expect(db.pragma('integrity_check', { simple: true })).toBe('ok');
    db.close();
  });

  test('of a newer program is refused, named with this program’s, and left as it is', async () => {
    const dataDir = tempDir();
    await (await openJournal({ dataDir, durability: 'normal' })).close();
    const path = join(dataDir, 'keybalancer.db');
    const db = new Database(path);
    db.pragma('user_version = 99');
    db.close();
    await expect(openJournal({ dataDir, durability: 'normal' })).rejects.toMatchObject({
      name: 'DataDirError',
      message: expect.stringMatching(/keybalancer\.db has schema version 99, newer than version 2 of this program/),
    });
    const again = new Database(path);
    expect(again.pragma('user_version', { simple: true })).toBe(99);
    expect(again.prepare('SELECT count(*) FROM boots').pluck().get()).toBe(1);
    again.close();
  });
});
