import type { RecordableHistogram } from 'node:perf_hooks';
import type { CallerRecord } from '../../engine/callers.ts';
import { effectiveWeight, type Key, keyId, projectName } from '../../engine/key.ts';
import type { Pool } from '../../engine/pool.ts';
import type { Moment } from '../../engine/quota/moment.ts';
import { blocksUntil, type Rest } from '../../engine/rest.ts';
import { acquired, noUsage, type UsageCounts } from '../../engine/usage.ts';
import { KeyState } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import type {
  CallerView,
  CooldownView,
  KeyView,
  LatencyView,
  PoolStatsView,
  UsageView,
  VerificationView,
} from '../store.ts';
import type { PoolLatencies } from './latencies.ts';

export function keyView(key: Key, { now, wallOffset }: Moment): KeyView {
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
    cooldowns: cooldownsOf(key, { now, wallOffset }),
    verification: verificationOf(key, wallOffset),
    quotaProject: projectName(key),
    projectLearned: key.settings.project === '' && key.learnedProject !== undefined,
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

/** Those in force; one that has ended and is only remembered is none. A key in quarantine shows what it is suspected of. */
function cooldownsOf(key: Key, { now, wallOffset }: Moment): CooldownView[] {
  const view = (rest: Rest, projectWide: boolean): CooldownView => ({
    model: rest.model,
    cause: rest.cause,
    untilTime: Math.max(rest.until, blocksUntil(rest, now)) + wallOffset,
    projectWide,
    probeTime: rest.probeAt < rest.until ? rest.probeAt + wallOffset : undefined,
  });
  const inForce = (rest: Rest): boolean => rest.until > now || blocksUntil(rest, now) > 0;
  const { suspicion } = key;
  return [
    ...(suspicion?.held
      ? [
          {
            model: '',
            cause: suspicion.cause,
            untilTime: suspicion.deadline + wallOffset,
            projectWide: false,
            probeTime: undefined,
          },
        ]
      : []),
    ...key.rests.filter(inForce).map((rest) => view(rest, false)),
    ...key.project.rests.filter(inForce).map((rest) => view(rest, true)),
  ];
}

function verificationOf({ suspicion }: Key, wallOffset: number): VerificationView | undefined {
  if (suspicion === undefined) return undefined;
  const { refusals, unanswered, unansweredClass } = suspicion;
  return { nextTime: suspicion.deadline + wallOffset, refusals, unanswered, unansweredClass };
}

/** Callers shown; those most often wrong first. Of a caller whose reports were undone nothing is to be told. */
const MAX_CALLERS = 100;

export function callerViews(callers: Iterable<CallerRecord>): CallerView[] {
  return [...callers]
    .filter(({ name: _, refutations: __, lessons: ___, ...counts }) => Object.values(counts).some((count) => count > 0))
    .sort((a, b) => b.refuted - a.refuted || (a.name < b.name ? -1 : 1))
    .slice(0, MAX_CALLERS)
    .map(({ name, refutations: _, lessons: __, ...counts }) => ({ ...counts, caller: name }));
}

/** Costs the same however many keys there are. */
export function poolStats(pool: Pool, latencies: PoolLatencies): PoolStatsView {
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
    models: [],
    failuresByClass: { ...pool.failuresByClass },
    keysBySource: Object.fromEntries(pool.keysBySource),
    averageWeight: pool.averageWeight,
  };
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

export function latencyView(histogram: RecordableHistogram | undefined): LatencyView {
  if (histogram === undefined || histogram.count === 0) return NO_LATENCY;
  const at = (percentile: number): number => histogram.percentile(percentile) / 1000;
  return { count: histogram.count, p50Ms: at(50), p95Ms: at(95), p99Ms: at(99), maxMs: histogram.max / 1000 };
}
