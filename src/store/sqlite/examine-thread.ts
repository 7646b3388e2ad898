import { parentPort, workerData } from 'node:worker_threads';
import { type Examination, examine } from './examine.ts';

export interface ExamineOrder {
  path: string;
  masterKey: Uint8Array | undefined;
}

export type ExamineAnswer = { found: Examination } | { error: string };

/** The thread that examineFile() starts. */
const { path, masterKey } = workerData as ExamineOrder;
let answer: ExamineAnswer;
try {
  answer = { found: examine(path, masterKey) };
} catch (error) {
  answer = { error: (error as Error).message };
}
parentPort!.postMessage(answer);
