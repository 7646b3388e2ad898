import { performance } from 'node:perf_hooks';

/** Streams cut in a row before single calls are tried. */
const MOST_CUTS = 3;
const AGAIN_MS = 5 * 60_000;

/**
 * Whether operations go on a stream or each by a call of its own.
 *
 * stream --cut thrice in a row--> trial --a single call is answered--> single --after minutes--> stream
 *    \___________________ the server knows no sessions _________________/
 */
export class Fallback {
  readonly #warn: (why: string) => void;
  #cuts = 0;
  #trial = false;
  #singleUntil = 0;
  #warned = false;

  /** `warn` is told once why there is no stream. */
  constructor(warn: (why: string) => void) {
    this.#warn = warn;
  }

  get way(): 'stream' | 'trial' | 'single' {
    if (this.#trial) return 'trial';
    return this.#singleUntil > 0 && performance.now() < this.#singleUntil ? 'single' : 'stream';
  }

  /** A stream ended as a stream should, or lived long. */
  wentWell(): void {
    this.#cuts = 0;
  }

  /** A stream was cut as soon as it was there. */
  wasCut(): void {
    this.#cuts++;
    if (this.#cuts >= MOST_CUTS) this.#trial = true;
  }

  /** What came of a single call in the trial. Where those fail too, the streams are not to blame. */
  tried(answered: boolean): void {
    if (!this.#trial) return;
    this.#trial = false;
    this.#cuts = 0;
    if (answered) this.#goSingle(`its streams are cut, ${MOST_CUTS} in a row, while single calls are answered`);
  }

  unknown(): void {
    this.#trial = false;
    this.#goSingle('it has no Session method, or something before it lets none through');
  }

  #goSingle(why: string): void {
    this.#singleUntil = performance.now() + AGAIN_MS;
    if (this.#warned) return;
    this.#warned = true;
    this.#warn(why);
  }
}
