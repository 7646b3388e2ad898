import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { onTestFinished } from 'vitest';
import { INHERITED } from '../../support/inherited.ts';
import type { LoadOrder, LoadResult } from './load-process.ts';

/** Processes of an application in one load. */
export const PROCESSES = 4;
/** More of them take longer: KEYBALANCER_LOAD_CALLS says how many all processes make together. */
export const CALLS_EACH = Math.ceil(Number(process.env.KEYBALANCER_LOAD_CALLS ?? 2_000) / PROCESSES);
/** Calls at once in a process. */
export const CALLERS = 25;

/** A process that makes its calls, and ends with the test. */
export class LoadChild {
  /** Rejects where it ends before. */
  readonly result: Promise<LoadResult>;
  readonly #process: ChildProcess;
  readonly #exit: Promise<unknown[]>;

  constructor(order: LoadOrder) {
    const env = { ...INHERITED, KEYBALANCER_MASTER_KEY: '00'.repeat(32) };
    this.#process = fork(new URL('./load-process.ts', import.meta.url), { env });
    this.#exit = once(this.#process, 'exit');
    this.result = Promise.race([
      (once(this.#process, 'message') as Promise<[LoadResult]>).then(([result]) => result),
      this.#exit.then(([code]) => Promise.reject(new Error(`a process of the load ended with ${String(code)}`))),
    ]);
    // Of one that is killed nobody asks.
    this.result.catch(() => {});
    this.#process.send(order);
    onTestFinished(() => this.kill());
  }

  get pid(): number {
    return this.#process.pid!;
  }

  async kill(): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.#exit;
  }
}
