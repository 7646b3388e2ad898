import { closeSync, existsSync, fsyncSync, openSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname, isAbsolute, join } from 'node:path';
import { BalancerError, invalidField } from '../../engine/errors.ts';
import { reasonOf } from '../data-dir.ts';
import type { Examination } from './examine.ts';
import { examineFile } from './examine-file.ts';
import { MIGRATIONS } from './migrations.ts';
import type { FileJournal } from './open-journal.ts';
import type { BackupProgress } from './writer-thread.ts';

/** Names in `meta`. */
const LAST_BACKUP = 'last_backup';
const LAST_CHECK = 'last_check';

/** When the database was copied or checked, and what was found. */
export interface PastExamination {
  /** Unix milliseconds. */
  endTime: number;
  /** How many. */
  problems: number;
  keys: number;
}

/** What a database is, for an operator. */
export interface DatabaseDescription {
  schemaVersion: number;
  durability: 'full' | 'normal';
  databaseBytes: number;
  logBytes: number;
  /** The newest that was in order; undefined: none. */
  lastBackup: PastExamination | undefined;
  lastCheck: PastExamination | undefined;
}

/** Copies of the database of one data dir, made while it is used. */
export class Backups {
  readonly #journal: FileJournal;
  readonly #dataDir: string;
  readonly #masterKey: Uint8Array;
  readonly #running = new Set<string>();

  constructor(journal: FileJournal, dataDir: string, masterKey: Uint8Array) {
    this.#journal = journal;
    this.#dataDir = dataDir;
    this.#masterKey = masterKey;
  }

  async describe(): Promise<DatabaseDescription> {
    const { database, log } = this.#journal.fileSizes();
    const past = async (name: string): Promise<PastExamination | undefined> => {
      const text = await this.#journal.readMeta(name);
      return text === undefined ? undefined : (JSON.parse(text) as PastExamination);
    };
    return {
      schemaVersion: MIGRATIONS.length,
      durability: this.#journal.durability,
      databaseBytes: database,
      logBytes: log,
      lastBackup: await past(LAST_BACKUP),
      lastCheck: await past(LAST_CHECK),
    };
  }

  /** A copy that is not in order is taken away again: the problems say why. */
  async backUp(path: string, onProgress: (progress: BackupProgress) => void): Promise<Examination> {
    checkTarget(path);
    const partial = `${path}.partial`;
    const found = await this.#copy(partial, onProgress, () => {
      sync(partial);
      renameSync(partial, path);
      sync(dirname(path));
    });
    if (found.problems.length === 0) await this.#remember(LAST_BACKUP, found);
    return found;
  }

  async check(): Promise<Examination> {
    const found = await this.#copy(join(this.#dataDir, 'keybalancer.db.check'), () => {});
    await this.#remember(LAST_CHECK, found);
    return found;
  }

  /** Whether this can be written is no matter of the copy, which is made. */
  async #remember(name: string, { problems, keys }: Examination): Promise<void> {
    const past: PastExamination = { endTime: Date.now(), problems: problems.length, keys };
    await this.#journal.commit({ meta: { [name]: JSON.stringify(past) } }).catch(() => {});
  }

  async #copy(path: string, onProgress: (progress: BackupProgress) => void, keep?: () => void): Promise<Examination> {
    if (this.#running.has(path)) throw new BalancerError('STORE_UNAVAILABLE', `${path} is being written already`);
    this.#running.add(path);
    try {
      // What an end in the middle left, which nobody writes any more: this process owns the data dir.
      takeAway(path);
      closeSync(openSync(path, 'wx', 0o600));
      await this.#journal.backUp(path, onProgress);
      const found = await examineFile(path, this.#masterKey);
      if (found.problems.length === 0) keep?.();
      return found;
    } catch (error) {
      throw error instanceof BalancerError ? error : notMade(dirname(path), error);
    } finally {
      this.#running.delete(path);
      takeAway(path);
    }
  }
}

/** A copy that is not kept. Why that cannot be is no matter: what is in the way fails what comes next, and this must not hide its error. */
function takeAway(path: string): void {
  for (const file of [path, `${path}-journal`]) {
    try {
      rmSync(file, { force: true });
    } catch {}
  }
}

/** With this process's user, whose file it would be: whoever asks a server may be another, who could write there. */
function notMade(dir: string, error: unknown): BalancerError {
  const user = process.geteuid === undefined ? '' : ` by user ${process.geteuid()}`;
  return new BalancerError('STORE_UNAVAILABLE', `no copy could be made in ${dir}${user}: ${reasonOf(error)}`);
}

function checkTarget(path: string): void {
  if (!isAbsolute(path) || path.includes('\0')) throw invalidField('path', path, 'an absolute path');
  if (existsSync(path)) throw invalidField('path', path, 'the path of a file that is not there yet');
  const dir = dirname(path);
  if (!isDirectory(dir)) throw invalidField('path', path, 'a path in a directory that is there');
}

function isDirectory(dir: string): boolean {
  try {
    return statSync(dir, { throwIfNoEntry: false })?.isDirectory() === true;
  } catch (error) {
    // In a directory that may not be entered.
    throw notMade(dir, error);
  }
}

function sync(path: string): void {
  const file = openSync(path, 'r');
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}
