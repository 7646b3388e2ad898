import { createHistogram, type RecordableHistogram } from 'node:perf_hooks';
import type { Pool } from '../../engine/pool.ts';

/** In microseconds. */
export interface PoolLatencies {
  acquire: RecordableHistogram;
  provider: RecordableHistogram;
}

/** How long acquires and the provider took, by pool and over all. Counted since the start of the process. */
export class Latencies {
  /** Percentiles cannot be added up, so the total has histograms of its own. */
  readonly total = newLatencies();
  readonly #ofPools = new WeakMap<Pool, PoolLatencies>();

  of(pool: Pool): PoolLatencies {
    let latencies = this.#ofPools.get(pool);
    if (latencies === undefined) {
      latencies = newLatencies();
      this.#ofPools.set(pool, latencies);
    }
    return latencies;
  }

  record(pool: Pool, kind: keyof PoolLatencies, ms: number): void {
    const micros = Math.max(1, Math.round(ms * 1000));
    this.of(pool)[kind].record(micros);
    this.total[kind].record(micros);
  }
}

function newLatencies(): PoolLatencies {
  return { acquire: createHistogram(), provider: createHistogram() };
}
