import { clearInterval, setInterval } from 'node:timers';
import { LONGEST_TIMER_MS } from './checks.ts';

/**
 * Keeps the process alive while somebody waits for an answer of the engine, as a connection would: the engine's own timers do not, so
 * that it keeps no process alive that has nothing else to do.
 */
export class Waiters {
  readonly #handle = setInterval(() => {}, LONGEST_TIMER_MS).unref();
  #waiting = 0;

  /** The answer, which somebody waits for until it is there. */
  async until<T>(answer: Promise<T>): Promise<T> {
    if (this.#waiting++ === 0) this.#handle.ref();
    try {
      return await answer;
    } finally {
      if (--this.#waiting === 0) this.#handle.unref();
    }
  }

  /** Keeps nobody alive any more. */
  close(): void {
    clearInterval(this.#handle);
  }
}
