import { Worker } from 'node:worker_threads';
import type { Examination } from './examine.ts';
import type { ExamineAnswer, ExamineOrder } from './examine-thread.ts';

/** examine() on a thread of its own: it can take minutes. Rejects where the file is no database. */
export function examineFile(path: string, masterKey?: Uint8Array): Promise<Examination> {
  return new Promise((resolve, reject) => {
    const file = import.meta.url.endsWith('.ts') ? './examine-thread.ts' : './examine-thread.js';
    const worker = new Worker(new URL(file, import.meta.url), {
      workerData: { path, masterKey } satisfies ExamineOrder,
      execArgv: [],
    });
    worker.once('message', (answer: ExamineAnswer) => {
      if ('found' in answer) resolve(answer.found);
      else reject(new Error(answer.error));
    });
    worker.once('error', reject);
    worker.once('exit', () => reject(new Error('the check was ended')));
  });
}
