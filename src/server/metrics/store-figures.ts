import type { LatencyView, PoolCounters, PoolStatsView, Store } from '../../store/store.ts';
import type { Tell } from './figures.ts';

/** What the store knows of itself and its pools. Labels never name a key: there may be any number of them. */
export async function tellStore(tell: Tell, store: Store): Promise<void> {
  const { pools, ...stats } = await store.stats({ pools: [], includeModels: false });
  for (const pool of pools) tellPool(tell, pool);
  for (const pool of await store.counters()) tellCounters(tell, pool);
  tell('commits', stats.commits.count, {});
  tell('commitOperations', stats.commits.operations, {});
  tell('commitFailures', stats.commits.failures, {});
  tell('commitSamples', stats.commits.latency.count, {});
  for (const [quantile, seconds] of quantilesOf(stats.commits.latency)) tell('commitLatency', seconds, { quantile });
  tell('databaseSize', stats.databaseBytes, {});
  tell('keysMemory', stats.keysBytes, {});
  tell('cacheEntries', stats.cache.size, {});
  tell('cacheCapacity', stats.cache.capacity, {});
  tell('cacheHits', stats.cache.hits, {});
  tell('cacheMisses', stats.cache.misses, {});
}

function tellPool(tell: Tell, stats: PoolStatsView): void {
  const { pool } = stats;
  tell('keys', stats.availableKeys, { pool, state: 'available' });
  tell('keys', stats.coolingKeys, { pool, state: 'cooling' });
  tell('keys', stats.quarantinedKeys, { pool, state: 'quarantined' });
  tell('keys', stats.disabledKeys, { pool, state: 'disabled' });
  tell('activeLeases', stats.activeLeases, { pool });
  tell('waitingAcquires', stats.waitingAcquires, { pool });
  tell('acquireSamples', stats.acquireLatency.count, { pool });
  for (const [quantile, seconds] of quantilesOf(stats.acquireLatency))
    tell('acquireLatency', seconds, { pool, quantile });
  tell('providerSamples', stats.providerLatency.count, { pool });
  for (const [quantile, seconds] of quantilesOf(stats.providerLatency)) {
    tell('providerLatency', seconds, { pool, quantile });
  }
}

const OF_LEASES = ['acquired', 'succeeded', 'failed', 'expired', 'unused', 'released', 'late', 'calls'] as const;

function tellCounters(tell: Tell, { pool, ...counters }: PoolCounters): void {
  for (const name of OF_LEASES) tell(name, counters[name], { pool });
  tell('tokens', counters.inputTokens, { pool, kind: 'input' });
  tell('tokens', counters.outputTokens, { pool, kind: 'output' });
  tell('tokens', counters.cachedTokens, { pool, kind: 'cached' });
  for (const [reason, count] of Object.entries(counters.refusals)) {
    tell('refusals', count, { pool, reason: reason.toLowerCase() });
  }
  for (const [name, count] of Object.entries(counters.failures)) {
    tell('failures', count, { pool, class: name.toLowerCase() });
  }
}

/** Seconds by quantile. Nothing measured is not the same as no time taken. */
function quantilesOf({ count, p50Ms, p95Ms, p99Ms, maxMs }: LatencyView): [quantile: string, seconds: number][] {
  if (count === 0) return [];
  return [
    ['0.5', p50Ms / 1000],
    ['0.95', p95Ms / 1000],
    ['0.99', p99Ms / 1000],
    ['1', maxMs / 1000],
  ];
}
