import { parentPort, workerData } from 'node:worker_threads';
import type { Rows } from './journal.ts';
import type { PassedRows } from './packed-rows.ts';
import { Writer } from './writer.ts';

/** What the main thread asks of this one. */
export type WriterCall =
  | { method: 'commit'; argument: PassedRows }
  | { method: 'readSecret'; argument: number }
  | { method: 'readImports'; argument: { pool: string; before: number; limit: number } }
  | { method: 'readMeta'; argument: string }
  | { method: 'backUp'; argument: string }
  | { method: 'loadNext' | 'close'; argument: undefined };

export interface WriterOptions {
  path: string;
  durability: 'full' | 'normal';
  startTime: number;
}

export interface BackupProgress {
  copiedBytes: number;
  totalBytes: number;
}

export type WriterAnswer =
  | { id: number; value: unknown }
  | { id: number; progress: BackupProgress }
  | { id: number; error: { message: string; code: string | undefined } };

/** SQLite on a thread of its own, so that no fsync or checkpoint holds up those who serve. Calls are answered in their order, but for backups. */
const port = parentPort!;
try {
  const options = workerData as WriterOptions;
  const writer = new Writer(options.path, options.durability, options.startTime);
  const loading = writer.load();
  port.on('message', ({ id, call }: { id: number; call: WriterCall }) => {
    if (call.method === 'backUp') {
      void backUp(writer, call.argument, id);
      return;
    }
    try {
      port.postMessage({ id, value: perform(writer, loading, call) } satisfies WriterAnswer);
    } catch (error) {
      port.postMessage({ id, error: described(error) } satisfies WriterAnswer);
    }
    if (call.method === 'close') port.close();
  });
  port.postMessage({ id: 0, value: { storeId: writer.storeId, boot: writer.boot } } satisfies WriterAnswer);
} catch (error) {
  port.postMessage({ id: 0, error: described(error) } satisfies WriterAnswer);
  port.close();
}

/** The one call that others do not wait for. */
async function backUp(writer: Writer, path: string, id: number): Promise<void> {
  try {
    const { pageSize } = writer;
    await writer.backUp(path, (copied, total) => {
      const progress = { copiedBytes: copied * pageSize, totalBytes: total * pageSize };
      port.postMessage({ id, progress } satisfies WriterAnswer);
    });
    port.postMessage({ id, value: undefined } satisfies WriterAnswer);
  } catch (error) {
    port.postMessage({ id, error: described(error) } satisfies WriterAnswer);
  }
}

function perform(writer: Writer, loading: Generator<Rows>, call: Exclude<WriterCall, { method: 'backUp' }>): unknown {
  switch (call.method) {
    case 'commit':
      return writer.commit(call.argument);
    case 'readSecret':
      return writer.readSecret(call.argument);
    case 'readImports':
      return writer.readImports(call.argument);
    case 'readMeta':
      return writer.readMeta(call.argument);
    case 'loadNext': {
      const next = loading.next();
      return next.done ? undefined : next.value;
    }
    case 'close':
      return writer.close();
  }
}

function described(error: unknown): { message: string; code: string | undefined } {
  return { message: (error as Error).message, code: (error as { code?: string }).code };
}
