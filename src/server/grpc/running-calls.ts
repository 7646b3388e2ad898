import type { WatchCalls } from '../telemetry/watch-calls.ts';
import type { CallObserver } from './service-adapter.ts';

/** Counts the calls that run, and lets others watch them. */
export class RunningCalls implements CallObserver {
  readonly failed: CallObserver['failed'];
  readonly watch: WatchCalls | undefined;
  #running = 0;
  #idle: (() => void) | undefined;

  constructor(failed: CallObserver['failed'], watch?: WatchCalls) {
    this.failed = failed;
    this.watch = watch;
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
