import type { OperationResult } from '../../../gen/keybalancer/v1/keybalancer_pb.ts';

/** Results in one message: even with the largest labels on every lease it stays below 4 MiB. */
const LARGEST_BATCH = 500;

export interface Answer {
  message: OperationResult;
  /** Lease to give back should the answer not be taken. */
  undelivered: string | undefined;
}

/** Gathers the results of a tick, so that they leave together. */
export class ResultBatches {
  readonly #ready: () => void;
  #gathering: Answer[] = [];
  #batches: Answer[][] = [];
  #immediate: NodeJS.Immediate | undefined;
  #size = 0;

  /** `ready` is told when a tick with results is over. */
  constructor(ready: () => void) {
    this.#ready = ready;
  }

  /** Results not taken yet. */
  get size(): number {
    return this.#size;
  }

  /** Whether all results were taken. */
  get empty(): boolean {
    return this.#size === 0;
  }

  add(answer: Answer): void {
    this.#gathering.push(answer);
    this.#size++;
    this.#immediate ??= setImmediate(() => this.#close());
  }

  /** The next message's results; undefined: none is ready. */
  take(): OperationResult[] | undefined {
    const batch = this.#batches.shift();
    if (batch === undefined) return undefined;
    this.#size -= batch.length;
    return batch.map(({ message }) => message);
  }

  /** Everything that is left, ready or not. */
  takeAll(): Answer[] {
    if (this.#immediate !== undefined) clearImmediate(this.#immediate);
    const all = [...this.#batches.flat(), ...this.#gathering];
    this.#batches = [];
    this.#gathering = [];
    this.#size = 0;
    return all;
  }

  #close(): void {
    this.#immediate = undefined;
    const last = this.#batches.at(-1);
    // What was not taken yet still has room for more.
    if (last !== undefined && last.length + this.#gathering.length <= LARGEST_BATCH) last.push(...this.#gathering);
    else {
      for (let from = 0; from < this.#gathering.length; from += LARGEST_BATCH) {
        this.#batches.push(this.#gathering.slice(from, from + LARGEST_BATCH));
      }
    }
    this.#gathering = [];
    this.#ready();
  }
}
