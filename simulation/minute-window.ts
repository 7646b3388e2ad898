import { MINUTE_MS } from './world.ts';

/** How a minute is counted: the 60 s before each call, or the minutes of the clock. */
export type WindowKind = 'sliding' | 'aligned';

/** The calls that one limit a minute has admitted. Times only go forward. */
export interface MinuteWindow {
  /** When the next call may come: `now`, or later. */
  freeAt(now: number): number;
  count(now: number): void;
}

export function minuteWindow(kind: WindowKind, limit: number): MinuteWindow {
  return kind === 'sliding' ? new SlidingWindow(limit) : new AlignedWindow(limit);
}

/** Remembers the last `limit` calls: the next has to come a minute after the first of them. */
class SlidingWindow implements MinuteWindow {
  readonly #calls: Float64Array;
  #oldest = 0;

  constructor(limit: number) {
    this.#calls = new Float64Array(limit).fill(-Infinity);
  }

  freeAt(now: number): number {
    return Math.max(now, this.#calls[this.#oldest]! + MINUTE_MS);
  }

  count(now: number): void {
    this.#calls[this.#oldest] = now;
    this.#oldest = (this.#oldest + 1) % this.#calls.length;
  }
}

class AlignedWindow implements MinuteWindow {
  readonly #limit: number;
  #minute = 0;
  #calls = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  freeAt(now: number): number {
    const minute = Math.floor(now / MINUTE_MS);
    return minute === this.#minute && this.#calls >= this.#limit ? (minute + 1) * MINUTE_MS : now;
  }

  count(now: number): void {
    const minute = Math.floor(now / MINUTE_MS);
    if (minute !== this.#minute) {
      this.#minute = minute;
      this.#calls = 0;
    }
    this.#calls++;
  }
}
