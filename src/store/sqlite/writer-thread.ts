import { parentPort, workerData } from 'node:worker_threads';
import type { Rows } from './journal.ts';
import type { PassedRows } from './packed-rows.ts';
import { Writer } from './writer.ts';

/** What the main thread asks of this one. */
export type WriterCall =
  | { method: 'commit'; argument: PassedRows }
  | { method: 'readSecret'; argument: number }
  | { method: 'readImports'; argument: { pool: string; before: number; limit: number } }
  | { method: 'loadNext' | 'close'; argument: undefined };

export interface WriterOptions {
  path: string;
  durability: 'full' | 'normal';
  startTime: number;
}

export type WriterAnswer =
  | { id: number; value: unknown }
  | { id: number; error: { message: string; code: string | undefined } };

/** SQLite on a thread of its own, so that no fsync or checkpoint holds up those who serve. Calls are answered in their order. */
const port = parentPort!;
try {
  const options = workerData as WriterOptions;
  const writer = new Writer(options.path, options.durability, options.startTime);
  const loading = writer.load();
  port.on('message', ({ id, call }: { id: number; call: WriterCall }) => {
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

function perform(writer: Writer, loading: Generator<Rows>, call: WriterCall): unknown {
  switch (call.method) {
    case 'commit':
      return writer.commit(call.argument);
    case 'readSecret':
      return writer.readSecret(call.argument);
    case 'readImports':
      return writer.readImports(call.argument);
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
