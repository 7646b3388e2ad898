import { setTimeout as sleep } from 'node:timers/promises';
import type { Noticed } from './event.ts';

/** What the watch gave and no batch has taken yet. Whoever puts waits while it is full, and so reads no more from the server. */
export class EventQueue {
  readonly #capacity: number;
  #waiting: Noticed[] = [];
  #ended = false;
  #changed = Promise.withResolvers<void>();

  /** `capacity`: at least 1. */
  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get size(): number {
    return this.#waiting.length;
  }

  /** Resolves when there is room for the next. */
  async put(noticed: Noticed): Promise<void> {
    this.#waiting.push(noticed);
    this.#wake();
    while (this.#waiting.length >= this.#capacity && !this.#ended) await this.#changed.promise;
  }

  /** Nothing will be put any more. */
  end(): void {
    this.#ended = true;
    this.#wake();
  }

  /**
   * At most so many, as soon as they are there, or what is there `waitMs` after the first. None: there will be no more. Not to be called
   * again before it has answered.
   */
  async take(most: number, waitMs: number): Promise<Noticed[]> {
    while (this.#waiting.length === 0 && !this.#ended) await this.#changed.promise;
    const late = new AbortController();
    const time = sleep(waitMs, 'late', { signal: late.signal }).catch(() => {});
    while (this.#waiting.length < most && !this.#ended) {
      if ((await Promise.race([this.#changed.promise, time])) === 'late') break;
    }
    late.abort();
    const taken = this.#waiting.splice(0, most);
    this.#wake();
    return taken;
  }

  /** All that is left, at once. */
  drain(): Noticed[] {
    return this.#waiting.splice(0);
  }

  #wake(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }
}
