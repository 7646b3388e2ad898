import type { Failure } from './gemini.ts';
import { type Advice, type Call, TRY_AGAIN } from './scheduler.ts';
import type { Picker } from './waiting-room.ts';
import { KEYS, MINUTE_MS } from './world.ts';

/** What is written in a week: one key after the other, and a key that failed, however it did, rests for a minute. */
export class RoundRobin implements Picker {
  readonly lines = 1;
  readonly #restsUntil = new Float64Array(KEYS);
  #last = -1;

  lineOf(): number {
    return 0;
  }

  pick(_: Call, now: number): number {
    for (let step = 1; step <= KEYS; step++) {
      const key = (this.#last + step) % KEYS;
      if (this.#restsUntil[key]! > now) continue;
      this.#last = key;
      return key;
    }
    return -1;
  }

  askAgainAt(): number {
    return this.#restsUntil.reduce((a, b) => Math.min(a, b));
  }

  report(key: number, failure: Failure | undefined, now: number): Advice {
    if (failure !== undefined) this.#restsUntil[key] = now + MINUTE_MS;
    return TRY_AGAIN;
  }
}
