import { describe, expect, test } from 'vitest';
import { openJournal } from '../../src/store/sqlite/open-journal.ts';
import { JournalChild } from '../support/journal-child.ts';
import { loadAll } from '../support/journals.ts';
import { leaseRow } from '../support/rows.ts';
import { tempDir } from '../support/temp-dir.ts';

const LEASES = 100;

/** The leases of commit number n. */
function batch(n: number) {
  const model = 'm'.repeat(200);
  return { leases: Array.from({ length: LEASES }, (_, index) => leaseRow(1, n * LEASES + index, { model })) };
}

describe('a disk that takes no more', () => {
  test('rejects commits, keeps nothing of them, and what it acknowledged is there once it takes writes again', async () => {
    const dataDir = tempDir();
    const child = new JournalChild();
    await child.say({ open: dataDir });
    child.limitFileSize(1_000_000);
    const kept: number[] = [];
    const refused: number[] = [];
    let n = 0;
    while (refused.length < 10) {
      const reply = await child.say({ commit: batch(n) });
      if ('done' in reply) kept.push(n);
      else {
        expect(reply).toMatchObject({ error: 'JournalError' });
        refused.push(n);
      }
      n++;
    }
    expect(kept.length).toBeGreaterThan(5);
    child.limitFileSize('unlimited');
    for (let i = 0; i < 10; i++, n++) {
      expect(await child.say({ commit: batch(n) })).toEqual({ done: 1 });
      kept.push(n);
    }
    await child.kill();
    const journal = await openJournal({ dataDir, durability: 'full' });
    const { leases } = await loadAll(journal);
    await journal.close();
    const stored = new Set(leases?.map((lease) => Math.floor(lease.seq / LEASES)));
    expect([...stored].sort((a, b) => a - b)).toEqual(kept);
    expect(leases).toHaveLength(kept.length * LEASES);
  });

  test('loses nothing that was acknowledged when the owner is killed meanwhile', async () => {
    const dataDir = tempDir();
    const child = new JournalChild();
    await child.say({ open: dataDir });
    child.limitFileSize(500_000);
    let kept = 0;
    while ('done' in (await child.say({ commit: batch(kept) }))) kept++;
    expect(await child.say({ commit: batch(1_000) })).toMatchObject({ error: 'JournalError' });
    await child.kill();
    const journal = await openJournal({ dataDir, durability: 'full' });
    expect((await loadAll(journal)).leases).toHaveLength(kept * LEASES);
    await journal.close();
  });
});
