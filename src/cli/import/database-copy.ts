import { closeSync, copyFileSync, existsSync, mkdtempSync, openSync, readSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Database from 'better-sqlite3';
import { redact } from '../../gemini/redact.ts';
import { CliError, EXIT } from '../exit-code.ts';

const MAGIC = Buffer.from('SQLite format 3\0');

/** What SQLite keeps beside a database of changes that are not in it yet, or of a write that was cut off. */
const BESIDE = ['-wal', '-journal'];

/**
 * Opens a copy of a SQLite database in a directory of this user alone, which is gone afterwards: to open the original could write
 * beside it, and even into it.
 */
export async function withDatabaseCopy<T>(path: string, use: (database: Database.Database) => Promise<T>): Promise<T> {
  checkDatabase(path);
  const dir = mkdtempSync(join(tmpdir(), 'keybalancer-'));
  try {
    const copy = join(dir, 'copy.db');
    const before = stateOf(path);
    for (const suffix of ['', ...BESIDE]) {
      if (existsSync(path + suffix)) copyFileSync(path + suffix, copy + suffix);
    }
    if (stateOf(path) !== before)
      throw unusable(path, 'is being written', 'a file that no program writes to meanwhile');
    const database = new Database(copy);
    try {
      return await use(database);
    } finally {
      database.close();
    }
  } catch (error) {
    const { code, message } = error as { code?: string; message: string };
    if (!code?.startsWith('SQLITE_')) throw error;
    throw unusable(path, `cannot be read: ${message}`, 'a database that is whole');
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

function stateOf(path: string): string {
  return ['', ...BESIDE]
    .map((suffix) => statSync(path + suffix, { throwIfNoEntry: false }))
    .map((info) => (info === undefined ? '' : `${info.ino} ${info.size} ${info.mtimeMs}`))
    .join('\n');
}

function checkDatabase(path: string): void {
  const allowed = 'the database of easy-gemini-balance, keys.db';
  let beginning: Buffer;
  try {
    beginning = beginningOf(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why = code === 'ENOENT' ? 'does not exist' : code === 'EISDIR' ? 'is a directory' : `cannot be read: ${code}`;
    throw unusable(path, why, allowed);
  }
  if (!beginning.equals(MAGIC)) throw unusable(path, 'is no SQLite database', allowed);
}

function beginningOf(path: string): Buffer {
  const fd = openSync(path, 'r');
  try {
    const bytes = Buffer.alloc(MAGIC.length);
    return bytes.subarray(0, readSync(fd, bytes));
  } finally {
    closeSync(fd);
  }
}

/** A file that cannot be taken over. */
export function unusable(path: string, why: string, allowed: string): CliError {
  return new CliError(EXIT.failed, `FILE is ${redact(path)}, which ${why}; allowed: ${allowed}`);
}
