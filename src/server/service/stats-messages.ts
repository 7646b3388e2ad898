import type {
  CacheStats,
  CallerStats,
  LatencySummary,
  MemoryStats,
  ModelStats,
  PoolStats,
} from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { CallerView, LatencyView, ModelStatsView, PoolStatsView, StoreStats } from '../../store/store.ts';
import { usageMessage } from './key-messages.ts';
import { durationMessage, optionalTimestamp } from './time-messages.ts';

/** What the store counts, as messages. */

export function poolStatsMessage(stats: PoolStatsView): PoolStats {
  return {
    $typeName: 'keybalancer.v1.PoolStats',
    pool: stats.pool,
    totalKeys: BigInt(stats.totalKeys),
    availableKeys: BigInt(stats.availableKeys),
    coolingKeys: BigInt(stats.coolingKeys),
    quarantinedKeys: BigInt(stats.quarantinedKeys),
    disabledKeys: BigInt(stats.disabledKeys),
    activeLeases: BigInt(stats.activeLeases),
    waitingAcquires: BigInt(stats.waitingAcquires),
    usage: usageMessage(stats.usage),
    acquiresRejected: BigInt(stats.acquiresRejected),
    acquireLatency: latencyMessage(stats.acquireLatency),
    providerLatency: latencyMessage(stats.providerLatency),
    models: stats.models.map(modelStatsMessage),
    failuresByClass: countsMessage(stats.failuresByClass),
    keysBySource: countsMessage(stats.keysBySource),
    averageWeight: stats.averageWeight,
  };
}

export function cacheStatsMessage({ size, capacity, hits, misses }: StoreStats['cache']): CacheStats {
  return {
    $typeName: 'keybalancer.v1.CacheStats',
    size: BigInt(size),
    capacity: BigInt(capacity),
    hits: BigInt(hits),
    misses: BigInt(misses),
    hitRate: hits + misses === 0 ? 0 : hits / (hits + misses),
  };
}

/** Bytes of the process, and of what `keys` keys hold in it. */
export function memoryStatsMessage(residentBytes: number, keysBytes: number, keys: number): MemoryStats {
  return {
    $typeName: 'keybalancer.v1.MemoryStats',
    residentBytes: BigInt(residentBytes),
    keysBytes: BigInt(keysBytes),
    estimatedBytesPer1000Keys: keys === 0 ? 0n : BigInt(Math.round((keysBytes / keys) * 1000)),
  };
}

export function callerStatsMessage(caller: CallerView): CallerStats {
  return {
    $typeName: 'keybalancer.v1.CallerStats',
    caller: caller.caller,
    quarantined: BigInt(caller.quarantined),
    confirmed: BigInt(caller.confirmed),
    refuted: BigInt(caller.refuted),
    projectsLearned: BigInt(caller.projectsLearned),
    projectsRefused: BigInt(caller.projectsRefused),
    delaysDistrusted: BigInt(caller.delaysDistrusted),
    limitsLearned: BigInt(caller.limitsLearned),
    limitsRefused: BigInt(caller.limitsRefused),
  };
}

function modelStatsMessage(stats: ModelStatsView): ModelStats {
  return {
    $typeName: 'keybalancer.v1.ModelStats',
    model: stats.model,
    availableKeys: BigInt(stats.availableKeys),
    usage: usageMessage(stats.usage),
    nextAvailableTime: optionalTimestamp(stats.nextAvailableTime),
  };
}

function latencyMessage({ count, p50Ms, p95Ms, p99Ms, maxMs }: LatencyView): LatencySummary {
  return {
    $typeName: 'keybalancer.v1.LatencySummary',
    count: BigInt(count),
    p50: durationMessage(p50Ms),
    p95: durationMessage(p95Ms),
    p99: durationMessage(p99Ms),
    max: durationMessage(maxMs),
  };
}

function countsMessage(counts: Readonly<Record<string, number>>): Record<string, bigint> {
  return Object.fromEntries(Object.entries(counts).map(([name, count]) => [name, BigInt(count)]));
}
