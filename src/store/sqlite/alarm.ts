import type { Clock } from '../../engine/clock.ts';
import type { Engine } from '../../engine/engine.ts';

/** setTimeout() takes no more than 2^31 - 1 ms. */
const LONGEST_DELAY_MS = 2 ** 30;

/** Lets time do its work in the engine: before each operation, and by itself when something falls due. */
export class Alarm {
  readonly #engine: Engine;
  readonly #clock: Clock;
  readonly #worked: () => void;
  #timer: NodeJS.Timeout | undefined;
  #timerAt = Infinity;

  /** `worked` is called when time may have changed something. */
  constructor(engine: Engine, clock: Clock, worked: () => void) {
    this.#engine = engine;
    this.#clock = clock;
    this.#worked = worked;
  }

  /** Now, after what is due was done. */
  advance(): number {
    const now = this.#clock.now();
    this.#engine.moveWall(this.#clock.wallOffset(), now);
    if (this.#engine.nextDeadline <= now) {
      this.#engine.advance(now);
      // Whoever came, if only to read, is the first to notice: what time changed is to be written and told now.
      this.#worked();
    }
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
    this.#worked();
    this.arm();
  }

  close(): void {
    clearTimeout(this.#timer);
  }
}
