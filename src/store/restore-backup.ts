import { constants, copyFileSync, existsSync, rmSync, statSync } from 'node:fs';
import { DataDirError, databasePath, giveToUser, prepareDataDir, reasonOf } from './data-dir.ts';
import { loadMasterKey, type MasterKeySource } from './master-key.ts';
import type { Examination } from './sqlite/examine.ts';
import { examineFile } from './sqlite/examine-file.ts';
import { replaceDatabase, startAfresh } from './sqlite/replace-database.ts';

/**
 * Examines a copy of a backup, made in the data dir, so that the backup itself stays as it is. Rejects with a DataDirError where it
 * is no database, and with a MasterKeyError where there is no master key.
 */
export async function examineBackup(file: string, dataDir: string, masterKey: MasterKeySource): Promise<Examination> {
  const found = statSync(file, { throwIfNoEntry: false });
  if (found === undefined) throw new DataDirError(`there is no file ${file}`);
  if (!found.isFile())
    throw new DataDirError(`${file} is ${found.isDirectory() ? 'a directory' : 'no file'}; a backup is one file`);
  prepareDataDir(dataDir);
  const { key } = loadMasterKey(dataDir, masterKey, false);
  const copy = `${databasePath(dataDir)}.examined`;
  try {
    rmSync(copy, { force: true });
    copyFileSync(file, copy, constants.COPYFILE_EXCL);
    return await examineFile(copy, key);
  } catch (error) {
    throw new DataDirError(`${file} cannot be used: ${reasonOf(error)}`);
  } finally {
    for (const each of [copy, `${copy}-journal`, `${copy}-wal`, `${copy}-shm`]) rmSync(each, { force: true });
  }
}

/**
 * Puts a backup that was examined in the place of a data dir's database. Returns where the earlier database is now; undefined: there
 * was none. By root, too: what is made belongs to the dir's user. Throws a DataDirInUseError where somebody has the dir. Nothing
 * changes when it throws.
 */
export function restoreBackup(file: string, dataDir: string): string | undefined {
  const path = databasePath(dataDir);
  const fresh = `${path}.restored`;
  const kept = `${path}.before-restore-${new Date().toISOString().replace(/[:.]/g, '-')}`;
  try {
    rmSync(fresh, { force: true });
    copyFileSync(file, fresh, constants.COPYFILE_EXCL);
    startAfresh(fresh);
    giveToUser(dataDir, fresh);
    replaceDatabase(dataDir, fresh, kept);
    return existsSync(kept) ? kept : undefined;
  } catch (error) {
    rmSync(fresh, { force: true });
    throw error instanceof DataDirError ? error : new DataDirError(`${file} cannot be restored: ${reasonOf(error)}`);
  }
}
