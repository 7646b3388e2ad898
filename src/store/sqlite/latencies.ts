import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import type { Pool } from '../../engine/pool.ts';

/** In microseconds. Each takes more than 100 kB: undefined until something is recorded. */
export interface PoolLatencies {
  acquire?: RecordableHistogram;
  provider?: RecordableHistogram;
}

/** What callers say that the provider took is cut to a day; a histogram refuses what is beyond 2 ** 53. */
const LONGEST_US = 24 * 3_600 * 1_000_000;
const NONE: Readonly<PoolLatencies> = {};

/** How long acquires and the provider took, by pool and over all. Counted since the start of the process. */
export class Latencies {
  /** Percentiles cannot be added up, so the total has histograms of its own. */
  readonly total: PoolLatencies = {};
  readonly #ofPools = new WeakMap<Pool, PoolLatencies>();

  of(pool: Pool): Readonly<PoolLatencies> {
    return this.#ofPools.get(pool) ?? NONE;
  }

  record(pool: Pool, kind: keyof PoolLatencies, ms: number): void {
    const micros = Math.min(LONGEST_US, Math.max(1, Math.round(ms * 1000)));
    let ofPool = this.#ofPools.get(pool);
    if (ofPool === undefined) {
      ofPool = {};
      this.#ofPools.set(pool, ofPool);
    }
    for (const latencies of [ofPool, this.total]) {
      latencies[kind] ??= createHistogram();
      latencies[kind].record(micros);
    }
  }
}
