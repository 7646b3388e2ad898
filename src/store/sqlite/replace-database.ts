import { randomUUID } from 'node:crypto';
import { chmodSync, linkSync, renameSync, rmSync } from 'node:fs';
import Database from 'better-sqlite3';
import { DataDirInUseError, databasePath, hasDatabase, readOwner } from '../data-dir.ts';

/**
 * Makes a database that goes on from an earlier state a new one for all who remember the later: watchers begin anew, and leases
 * of the runs that it does not know of cannot be mistaken for those that it will give.
 */
export function startAfresh(path: string): void {
  chmodSync(path, 0o600);
  const db = new Database(path, { fileMustExist: true });
  try {
    db.pragma('synchronous = FULL');
    const { boot } = db.prepare('SELECT coalesce(max(boot), 0) AS boot FROM boots').get() as { boot: number };
    // Runs count up by one, seconds faster: no run since the backup had this number. It is stored in 32 bits, which last until 2106.
    const now = Date.now();
    const next = Math.max(boot + 1, Math.floor(now / 1000));
    db.transaction(() => {
      db.prepare('INSERT INTO boots (boot, start_time, watermark) VALUES (?, ?, 0)').run(next, now);
      db.prepare("UPDATE meta SET value = ? WHERE name = 'store_id'").run(randomUUID());
    })();
  } finally {
    db.close();
  }
}

/** Puts `fresh` in the place of the data dir's database, which keeps the name `kept`. The lock decides whether that may be. */
export function replaceDatabase(dataDir: string, fresh: string, kept: string): void {
  const path = databasePath(dataDir);
  const used = hasDatabase(dataDir);
  const db = new Database(path, { timeout: 0 });
  try {
    db.pragma('locking_mode = EXCLUSIVE');
    // What the log holds goes into the file: it is kept as one.
    db.pragma('journal_mode = DELETE');
    db.exec('BEGIN EXCLUSIVE; COMMIT');
    if (used) linkSync(path, kept);
    renameSync(fresh, path);
  } catch (error) {
    if ((error as { code?: string }).code?.startsWith('SQLITE_BUSY')) {
      throw new DataDirInUseError(dataDir, readOwner(dataDir));
    }
    throw error;
  } finally {
    db.close();
  }
  for (const left of [`${path}-wal`, `${path}-shm`]) rmSync(left, { force: true });
}
