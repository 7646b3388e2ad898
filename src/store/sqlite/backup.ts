import { closeSync, existsSync, fsyncSync, openSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname, isAbsolute, join } from 'node:path';
import { BalancerError, invalidField } from '../../engine/errors.ts';
import { reasonOf } from '../data-dir.ts';
import type { Examination } from './examine.ts';
import { examineFile } from './examine-file.ts';
import type { FileJournal } from './open-journal.ts';
import type { BackupProgress } from './writer-thread.ts';

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

  /** A copy that is not in order is taken away again: the problems say why. */
  async backUp(path: string, onProgress: (progress: BackupProgress) => void): Promise<Examination> {
    checkTarget(path);
    const partial = `${path}.partial`;
    const found = await this.#copy(partial, onProgress, () => {
      sync(partial);
      renameSync(partial, path);
      sync(dirname(path));
    });
    return found;
  }

  async check(): Promise<Examination> {
    return this.#copy(join(this.#dataDir, 'keybalancer.db.check'), () => {});
  }

  async #copy(path: string, onProgress: (progress: BackupProgress) => void, keep?: () => void): Promise<Examination> {
    if (this.#running.has(path)) throw new BalancerError('STORE_UNAVAILABLE', `${path} is being written already`);
    this.#running.add(path);
    try {
      // What an end in the middle left, which nobody writes any more: this process owns the data dir.
      for (const file of [path, `${path}-journal`]) rmSync(file, { force: true });
      closeSync(openSync(path, 'wx', 0o600));
      await this.#journal.backUp(path, onProgress);
      const found = await examineFile(path, this.#masterKey);
      if (found.problems.length === 0) keep?.();
      return found;
    } catch (error) {
      throw error instanceof BalancerError
        ? error
        : new BalancerError('STORE_UNAVAILABLE', `no copy could be made: ${reasonOf(error)}`);
    } finally {
      for (const file of [path, `${path}-journal`]) rmSync(file, { force: true });
      this.#running.delete(path);
    }
  }
}

function checkTarget(path: string): void {
  if (!isAbsolute(path) || path.includes('\0')) throw invalidField('path', path, 'an absolute path');
  if (existsSync(path)) throw invalidField('path', path, 'the path of a file that is not there yet');
  const dir = dirname(path);
  if (statSync(dir, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw invalidField('path', path, 'a path in a directory that is there');
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
