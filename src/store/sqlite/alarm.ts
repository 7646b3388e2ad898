import type { Clock } from '../../engine/clock.ts';
import type { Engine } from '../../engine/engine.ts';

/** setTimeout() takes no more than 2^31 - 1 ms. */
const LONGEST_DELAY_MS = 2 ** 30;

/** Lets time do its work in the engine: before each operation, and by itself when something falls due. */
export class Alarm {
  readonly #engine: Engine;
  readonly #clock: Clock;
  readonly #woken: () => void;
  #timer: NodeJS.Timeout | undefined;
  #timerAt = Infinity;

  /** `woken` is called when it did so by itself. */
  constructor(engine: Engine, clock: Clock, woken: () => void) {
    this.#engine = engine;
    this.#clock = clock;
    this.#woken = woken;
  }

  /** Now, after what is due was done. */
  advance(): number {
    const now = this.#clock.now();
    this.#engine.advance(now);
    return now;
  }

  /** To be called when something may fall due earlier than before. */
  arm(): void {
    const next = this.#engine.nextDeadline;
    if (next >= this.#timerAt || next === Infinity) return;
    clearTimeout(this.#timer);
    this.#timerAt = next;
    const delay = Math.min(Math.max(0, next - this.#clock.now()), LONGEST_DELAY_MS);
    this.#timer = setTimeout(() => this.ring(), Math.ceil(delay));
    this.#timer.unref();
  }

  ring(): void {
    this.#timerAt = Infinity;
    this.advance();
    this.#woken();
    this.arm();
  }

  close(): void {
    clearTimeout(this.#timer);
  }
}
