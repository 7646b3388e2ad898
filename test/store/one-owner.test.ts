import { expect, test } from 'vitest';
import { openJournal } from '../../src/store/sqlite/open-journal.ts';
import { JournalChild } from '../support/journal-child.ts';
import { tempDir } from '../support/temp-dir.ts';

test('a second try in the process of the owner does not let another process have the data dir', async () => {
  const dataDir = tempDir();
  const inUse = { name: 'DataDirInUseError' };
  const owner = await openJournal({ dataDir, durability: 'full' });
  // On POSIX a process loses its locks of a file when it closes the file anywhere.
  await expect(openJournal({ dataDir, durability: 'full' })).rejects.toMatchObject(inUse);
  const other = new JournalChild();
  expect(await other.say({ open: dataDir })).toMatchObject({ error: inUse.name });
  await owner.close();
  expect(await other.say({ open: dataDir })).toEqual({ done: 2 });
});
