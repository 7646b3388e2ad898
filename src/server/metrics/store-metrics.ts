import type { BatchObservableResult, Meter, Observable } from '@opentelemetry/api';
import type { LatencyView, PoolStatsView, UsageView } from '../../store/store.ts';
import type { ServiceContext } from '../service/service-context.ts';

/** What the store knows of itself and its pools. Labels never name a key: there may be any number of them. */
export function observeStore(meter: Meter, { store, open }: ServiceContext): void {
  const observables: Observable[] = [];
  const gauge = (name: string, description: string): Observable => {
    const made = meter.createObservableGauge(`keybalancer_${name}`, { description });
    observables.push(made);
    return made;
  };
  const counter = (name: string, description: string): Observable => {
    const made = meter.createObservableCounter(`keybalancer_${name}`, { description });
    observables.push(made);
    return made;
  };
  /** The store keeps percentiles, not buckets; they cannot be added up over servers. */
  const latency = (name: string, what: string): Latency => ({
    quantiles: gauge(`${name}_latency_seconds`, `Time ${what}, by quantile since the start; 1 is the longest.`),
    count: counter(`${name}_latency_samples_total`, `Measurements of the time ${what}.`),
  });

  const keys = gauge('keys', 'Keys by pool and state.');
  const activeLeases = gauge('active_leases', 'Leases that are held now.');
  const waitingAcquires = gauge('waiting_acquires', 'Acquires that wait for a key now.');
  const leases = LEASE_COUNTS.map(([field, help]) => [field, counter(`leases_${field}_total`, help)] as const);
  const calls = counter('calls_reported_total', 'Calls to the provider that were reported; several to a kept lease.');
  const tokens = counter('tokens_total', 'Tokens that were reported, by kind.');
  const rejected = counter('acquires_rejected_total', 'Acquires that were refused a key.');
  const refusals = counter('acquire_refusals_total', 'Acquires that were refused a key, by reason.');
  const failures = counter('failures_total', 'Reported failures by what the server made of them.');
  const acquireLatency = latency('acquire', 'from an acquire to its lease, waiting included');
  const providerLatency = latency('provider', 'that the provider took, as reported');
  const commits = counter('store_commits_total', 'Group commits.');
  const commitOperations = counter('store_commit_operations_total', 'Operations that group commits carried.');
  const commitFailures = counter('store_commit_failures_total', 'Group commits that failed.');
  const commitLatency = latency('store_commit', 'of a group commit');
  const databaseBytes = gauge('store_database_bytes', 'Size of the database.');
  const keysBytes = gauge('store_keys_memory_bytes', 'Memory that the keys hold, all structures counted.');
  const cacheSize = gauge('secret_cache_entries', 'Decrypted keys in the cache.');
  const cacheCapacity = gauge('secret_cache_capacity', 'Most decrypted keys that the cache holds.');
  const cacheHits = counter('secret_cache_hits_total', 'Keys found in the cache.');
  const cacheMisses = counter('secret_cache_misses_total', 'Keys that had to be decrypted.');
  const watchers = gauge('watchers', 'Open WatchHealth streams.');
  const sessions = gauge('sessions', 'Open Session streams.');

  const observePool = (result: BatchObservableResult, stats: PoolStatsView): void => {
    const { pool, usage } = stats;
    result.observe(keys, stats.availableKeys, { pool, state: 'available' });
    result.observe(keys, stats.coolingKeys, { pool, state: 'cooling' });
    result.observe(keys, stats.quarantinedKeys, { pool, state: 'quarantined' });
    result.observe(keys, stats.disabledKeys, { pool, state: 'disabled' });
    result.observe(activeLeases, stats.activeLeases, { pool });
    result.observe(waitingAcquires, stats.waitingAcquires, { pool });
    for (const [field, count] of leases) result.observe(count, usage[field], { pool });
    result.observe(calls, usage.calls, { pool });
    result.observe(tokens, usage.inputTokens, { pool, kind: 'input' });
    result.observe(tokens, usage.outputTokens, { pool, kind: 'output' });
    result.observe(tokens, usage.cachedTokens, { pool, kind: 'cached' });
    result.observe(rejected, stats.acquiresRejected, { pool });
    for (const [reason, count] of Object.entries(stats.refusalsByReason)) {
      result.observe(refusals, count, { pool, reason: reason.toLowerCase() });
    }
    for (const [name, count] of Object.entries(stats.failuresByClass)) {
      result.observe(failures, count, { pool, class: name.toLowerCase() });
    }
    observeLatency(result, acquireLatency, stats.acquireLatency, { pool });
    observeLatency(result, providerLatency, stats.providerLatency, { pool });
  };

  meter.addBatchObservableCallback(async (result) => {
    const stats = await store.stats({ pools: [], includeModels: false });
    for (const pool of stats.pools) observePool(result, pool);
    result.observe(commits, stats.commits.count);
    result.observe(commitOperations, stats.commits.operations);
    result.observe(commitFailures, stats.commits.failures);
    observeLatency(result, commitLatency, stats.commits.latency, {});
    result.observe(databaseBytes, stats.databaseBytes);
    result.observe(keysBytes, stats.keysBytes);
    result.observe(cacheSize, stats.cache.size);
    result.observe(cacheCapacity, stats.cache.capacity);
    result.observe(cacheHits, stats.cache.hits);
    result.observe(cacheMisses, stats.cache.misses);
    result.observe(watchers, open.watchers);
    result.observe(sessions, open.sessions);
  }, observables);
}

/** acquired = active + succeeded + failed + expired + unused + released. */
const LEASE_COUNTS = [
  ['acquired', 'Leases handed out.'],
  ['succeeded', 'Leases reported as a success.'],
  ['failed', 'Leases reported as a failure.'],
  ['expired', 'Leases that ended by time, unreported.'],
  ['unused', 'Leases reported as not used.'],
  ['released', 'Leases that their session, an administrator or the deletion of their key ended, unreported.'],
  ['late', 'Of those reported, leases reported after their expiry.'],
] as const satisfies [keyof UsageView, string][];

interface Latency {
  quantiles: Observable;
  count: Observable;
}

function observeLatency(
  result: BatchObservableResult,
  { quantiles, count }: Latency,
  latency: LatencyView,
  labels: Record<string, string>,
): void {
  result.observe(count, latency.count, labels);
  // Nothing measured is not the same as no time taken.
  if (latency.count === 0) return;
  result.observe(quantiles, latency.p50Ms / 1000, { ...labels, quantile: '0.5' });
  result.observe(quantiles, latency.p95Ms / 1000, { ...labels, quantile: '0.95' });
  result.observe(quantiles, latency.p99Ms / 1000, { ...labels, quantile: '0.99' });
  result.observe(quantiles, latency.maxMs / 1000, { ...labels, quantile: '1' });
}
