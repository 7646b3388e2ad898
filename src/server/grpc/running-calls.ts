import type { CallObserver } from './service-adapter.ts';

/** Counts the calls that run. */
export class RunningCalls implements CallObserver {
  readonly failed: CallObserver['failed'];
  #running = 0;
  #idle: (() => void) | undefined;

  constructor(failed: CallObserver['failed']) {
    this.failed = failed;
  }

  started = (): void => {
    this.#running++;
  };

  ended = (): void => {
    this.#running--;
    if (this.#running === 0) this.#idle?.();
  };

  /** Resolves when none runs any more. */
  idle(): Promise<void> {
    if (this.#running === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#idle = resolve;
    });
  }
}
