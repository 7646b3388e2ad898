import { statSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import {
  DataDirError,
  DataDirInUseError,
  databasePath,
  prepareDataDir,
  readOwner,
  refuseOtherUser,
  removeOwner,
  writeOwner,
} from '../data-dir.ts';
import { type ImportRow, type Journal, JournalError, type Rows } from './journal.ts';
import { packRows } from './packed-rows.ts';
import type { BackupProgress, WriterAnswer, WriterCall, WriterOptions } from './writer-thread.ts';

export interface JournalOptions {
  dataDir: string;
  /** full: a commit survives the loss of power; normal: the end of the process, but perhaps not of power. */
  durability: 'full' | 'normal';
}

/** A journal that is a file. */
export interface FileJournal extends Journal {
  readonly durability: 'full' | 'normal';
  /** Bytes of the database, and of the log beside it. */
  fileSizes(): { database: number; log: number };
  /** What was committed under a name of `meta`; undefined: nothing. */
  readMeta(name: string): Promise<string | undefined>;
  /** Copies the database to a file. Rejects with a JournalError; then the file may be there in part. */
  backUp(path: string, onProgress: (progress: BackupProgress) => void): Promise<void>;
}

/** Opens the journal of a data dir as its only owner. */
export async function openJournal({ dataDir, durability }: JournalOptions): Promise<FileJournal> {
  refuseOtherUser(dataDir);
  prepareDataDir(dataDir);
  const startTime = Date.now();
  const thread = new WriterThread({ path: databasePath(dataDir), durability, startTime });
  try {
    const { storeId, boot } = (await thread.started) as { storeId: string; boot: number };
    const owner = { pid: process.pid, startTime: new Date(startTime).toISOString() };
    writeOwner(dataDir, owner);
    return new ThreadJournal(thread, { dataDir, durability, storeId, boot }, (addresses) =>
      writeOwner(dataDir, { ...owner, ...addresses }),
    );
  } catch (error) {
    const code = (error as { code?: string }).code ?? '';
    if (code.startsWith('SQLITE_BUSY')) throw new DataDirInUseError(dataDir, readOwner(dataDir));
    throw new DataDirError(`data dir ${dataDir} cannot be opened: ${(error as Error).message}`);
  }
}

class ThreadJournal implements FileJournal {
  readonly storeId: string;
  readonly boot: number;
  readonly durability: 'full' | 'normal';
  readonly #thread: WriterThread;
  readonly #dataDir: string;
  readonly #announce: (addresses: { grpc?: string; http?: string; socket?: string }) => void;

  constructor(
    thread: WriterThread,
    { dataDir, durability, storeId, boot }: JournalOptions & { storeId: string; boot: number },
    announce: (addresses: object) => void,
  ) {
    this.#thread = thread;
    this.#dataDir = dataDir;
    this.storeId = storeId;
    this.boot = boot;
    this.durability = durability;
    this.#announce = announce;
  }

  async *load(): AsyncIterable<Rows> {
    for (;;) {
      const rows = (await this.#thread.call({ method: 'loadNext', argument: undefined })) as Rows | undefined;
      if (rows === undefined) return;
      yield rows;
    }
  }

  async commit(rows: Rows): Promise<void> {
    await this.#thread.call({ method: 'commit', argument: packRows(rows) });
  }

  async readSecret(ordinal: number): Promise<Uint8Array | undefined> {
    return (await this.#thread.call({ method: 'readSecret', argument: ordinal })) as Uint8Array | undefined;
  }

  async readImports(query: { pool: string; before: number; limit: number }): Promise<ImportRow[]> {
    return (await this.#thread.call({ method: 'readImports', argument: query })) as ImportRow[];
  }

  async readMeta(name: string): Promise<string | undefined> {
    return (await this.#thread.call({ method: 'readMeta', argument: name })) as string | undefined;
  }

  async sizeBytes(): Promise<number> {
    const { database, log } = this.fileSizes();
    return database + log;
  }

  fileSizes(): { database: number; log: number } {
    const path = databasePath(this.#dataDir);
    const sizeOf = (file: string): number => statSync(file, { throwIfNoEntry: false })?.size ?? 0;
    return { database: sizeOf(path), log: sizeOf(`${path}-wal`) };
  }

  async backUp(path: string, onProgress: (progress: BackupProgress) => void): Promise<void> {
    await this.#thread.call({ method: 'backUp', argument: path }, onProgress);
  }

  async announce(addresses: { grpc?: string; http?: string; socket?: string }): Promise<void> {
    this.#announce(addresses);
  }

  async close(): Promise<void> {
    // First, while the lock is still held: the next owner's word must not be taken away.
    removeOwner(this.#dataDir);
    await this.#thread.call({ method: 'close', argument: undefined });
  }
}

interface OpenCall {
  resolve: (value: unknown) => void;
  reject: (error: Error) => void;
  onProgress?: ((progress: BackupProgress) => void) | undefined;
}

/** Calls to the writer thread, answered in their order. While any is open, they keep the process alive. */
class WriterThread {
  readonly started: Promise<unknown>;
  readonly #worker: Worker;
  readonly #open = new Map<number, OpenCall>();
  #lastId = 0;
  #dead: Error | undefined;

  constructor(options: WriterOptions) {
    const file = import.meta.url.endsWith('.ts') ? './writer-thread.ts' : './writer-thread.js';
    // Flags of the program are not this thread's: --input-type says nothing of its file, and --expose-gc a worker refuses.
    this.#worker = new Worker(new URL(file, import.meta.url), { workerData: options, execArgv: [] });
    this.started = new Promise((resolve, reject) => this.#open.set(0, { resolve, reject }));
    this.#worker.on('message', (answer: WriterAnswer) => this.#answered(answer));
    this.#worker.on('error', (error) => this.#died(error as Error));
    this.#worker.on('exit', () => this.#died(new Error('it ended')));
  }

  call(call: WriterCall, onProgress?: (progress: BackupProgress) => void): Promise<unknown> {
    if (this.#dead !== undefined) return Promise.reject(this.#dead);
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#open.set(id, { resolve, reject, onProgress });
      this.#worker.ref();
      this.#worker.postMessage({ id, call });
    });
  }

  #answered(answer: WriterAnswer): void {
    const open = this.#open.get(answer.id);
    if ('progress' in answer) {
      open?.onProgress?.(answer.progress);
      return;
    }
    this.#open.delete(answer.id);
    if (this.#open.size === 0) this.#worker.unref();
    if ('value' in answer) open?.resolve(answer.value);
    else open?.reject(Object.assign(new JournalError(answer.error.message), { code: answer.error.code }));
  }

  #died(cause: Error): void {
    this.#dead ??= new JournalError(`the writer thread is gone: ${cause.message}`);
    for (const open of this.#open.values()) open.reject(this.#dead);
    this.#open.clear();
  }
}
