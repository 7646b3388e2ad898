import type { RecordableHistogram } from 'node:perf_hooks';
import { allowsModel, effectiveWeight, type Key, keyId, restingUntil } from '../../engine/key.ts';
import type { Pool } from '../../engine/pool.ts';
import { acquired, noUsage, type UsageCounts } from '../../engine/usage.ts';
import { KeyState } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { CooldownView, KeyView, LatencyView, ModelStatsView, PoolStatsView, UsageView } from '../store.ts';
import type { PoolLatencies } from './latencies.ts';

export function keyView(key: Key, wallOffset: number): KeyView {
  const { settings, health, record } = key;
  const wall = (time: number | undefined): number | undefined => (time === undefined ? undefined : time + wallOffset);
  return {
    ...settings,
    keyId: keyId(key.ordinal),
    pool: key.pool.name,
    redactedKey: record.redactedKey,
    fingerprint: record.fingerprint,
    etag: etagOf(record.version),
    createTime: record.createTime,
    updateTime: record.updateTime,
    state: key.state,
    effectiveWeight: effectiveWeight(key),
    cooldowns: cooldownsOf(key, wallOffset),
    consecutiveFailures: health.consecutiveFailures,
    lastErrorClass: health.lastErrorClass,
    lastSuccessTime: wall(health.lastSuccess),
    lastFailureTime: wall(health.lastFailure),
    lastAcquireTime: wall(key.lastAcquire),
    activeLeases: key.active,
    usage: usageView(key.usage, key.active),
    revision: record.revision,
    createRevision: record.createRevision,
  };
}

export function etagOf(version: number): string {
  return `v${version}`;
}

export function usageView(counts: UsageCounts, active: number): UsageView {
  return { ...counts, acquired: acquired(counts, active) };
}

function cooldownsOf(key: Key, wallOffset: number): CooldownView[] {
  const views: CooldownView[] = [];
  for (const rest of key.rests) {
    views.push({ model: rest.model, cause: rest.cause, untilTime: rest.until + wallOffset, projectWide: false });
  }
  for (const rest of key.project?.rests ?? []) {
    views.push({ model: rest.model, cause: rest.cause, untilTime: rest.until + wallOffset, projectWide: true });
  }
  return views;
}

/** Keys of a pool by source and the sum of their weights: a walk over all of them. */
function census(pool: Pool): { bySource: Record<string, number>; weights: number } {
  // No object: a source may be named as one of an object's own.
  const bySource = new Map<string, number>();
  let weights = 0;
  for (const key of pool.keys) {
    if (key === undefined) continue;
    weights += key.settings.weight;
    const { source } = key.settings;
    if (source !== '') bySource.set(source, (bySource.get(source) ?? 0) + 1);
  }
  return { bySource: Object.fromEntries(bySource), weights };
}

export function poolStats(
  pool: Pool,
  latencies: PoolLatencies,
  now: number,
  wallOffset: number,
  includeModels: boolean,
): PoolStatsView {
  const { bySource, weights } = census(pool);
  return {
    pool: pool.name,
    totalKeys: pool.keyCount,
    availableKeys: pool.states[KeyState.AVAILABLE]!,
    coolingKeys: pool.states[KeyState.COOLING]!,
    quarantinedKeys: pool.states[KeyState.QUARANTINED]!,
    disabledKeys: pool.states[KeyState.DISABLED_ADMIN]! + pool.states[KeyState.DISABLED_AUTO]!,
    activeLeases: pool.active,
    waitingAcquires: pool.waiting,
    usage: usageView(pool.usage, pool.active),
    acquiresRejected: pool.acquiresRejected,
    acquireLatency: latencyView(latencies.acquire),
    providerLatency: latencyView(latencies.provider),
    models: includeModels ? modelStats(pool, now, wallOffset) : [],
    failuresByClass: { ...pool.failuresByClass },
    keysBySource: bySource,
    averageWeight: pool.keyCount === 0 ? 0 : weights / pool.keyCount,
  };
}

function modelStats(pool: Pool, now: number, wallOffset: number): ModelStatsView[] {
  // Most keys serve every model and are counted once for all; only the others are asked about each model.
  const particular: Key[] = [];
  let plain = 0;
  for (const key of pool.keys) {
    if (key?.state !== KeyState.AVAILABLE && key?.state !== KeyState.COOLING) continue;
    const rests = key.rests.length > 0 || (key.project !== undefined && key.project.rests.length > 0);
    if (rests || key.settings.models.length > 0) particular.push(key);
    else plain++;
  }
  return [...pool.modelUsage.values()].map(({ model, counts, active }) => {
    let availableKeys = plain;
    let next = Infinity;
    for (const key of particular) {
      if (!allowsModel(key, model)) continue;
      const until = restingUntil(key, model, now);
      if (until === 0) availableKeys++;
      else if (until < next) next = until;
    }
    return {
      model,
      availableKeys,
      usage: usageView(counts, active),
      nextAvailableTime: next === Infinity ? undefined : next + wallOffset,
    };
  });
}

/** All pools together. Latencies cannot be added up from percentiles, so they come from histograms of their own. */
export function totalStats(pools: readonly PoolStatsView[], latencies: PoolLatencies): PoolStatsView {
  const total = emptyStats('');
  total.acquireLatency = latencyView(latencies.acquire);
  total.providerLatency = latencyView(latencies.provider);
  let weights = 0;
  for (const pool of pools) {
    for (const name of SUMMED) total[name] += pool[name];
    for (const name of Object.keys(total.usage) as (keyof UsageView)[]) total.usage[name] += pool.usage[name];
    total.failuresByClass = sumOf(total.failuresByClass, pool.failuresByClass);
    total.keysBySource = sumOf(total.keysBySource, pool.keysBySource);
    weights += pool.averageWeight * pool.totalKeys;
  }
  total.averageWeight = total.totalKeys === 0 ? 0 : weights / total.totalKeys;
  return total;
}

/** Of a pool in which nothing has happened. */
export function emptyStats(pool: string): PoolStatsView {
  return {
    pool,
    totalKeys: 0,
    availableKeys: 0,
    coolingKeys: 0,
    quarantinedKeys: 0,
    disabledKeys: 0,
    activeLeases: 0,
    waitingAcquires: 0,
    usage: usageView(noUsage(), 0),
    acquiresRejected: 0,
    acquireLatency: NO_LATENCY,
    providerLatency: NO_LATENCY,
    models: [],
    failuresByClass: {},
    keysBySource: {},
    averageWeight: 0,
  };
}

const NO_LATENCY: LatencyView = { count: 0, p50Ms: 0, p95Ms: 0, p99Ms: 0, maxMs: 0 };

const SUMMED = [
  'totalKeys',
  'availableKeys',
  'coolingKeys',
  'quarantinedKeys',
  'disabledKeys',
  'activeLeases',
  'waitingAcquires',
  'acquiresRejected',
] as const;

function sumOf(a: Record<string, number>, b: Record<string, number>): Record<string, number> {
  const sums = new Map(Object.entries(a));
  for (const [name, count] of Object.entries(b)) sums.set(name, (sums.get(name) ?? 0) + count);
  return Object.fromEntries(sums);
}

export function latencyView(histogram: RecordableHistogram): LatencyView {
  const { count } = histogram;
  const at = (percentile: number): number => (count === 0 ? 0 : histogram.percentile(percentile) / 1000);
  return { count, p50Ms: at(50), p95Ms: at(95), p99Ms: at(99), maxMs: count === 0 ? 0 : histogram.max / 1000 };
}
