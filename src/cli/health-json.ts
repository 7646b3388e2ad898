import { enumToJson } from '@bufbuild/protobuf';
import { ErrorClassSchema, KeyStateSchema, type PoolStats } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import type { RestingGroup } from './resting.ts';

/** Keys and leases of a pool, as `health --json` and `monitor --json` print them. */
export function poolCountsJson({ pool, ...stats }: PoolStats) {
  return {
    pool,
    totalKeys: Number(stats.totalKeys),
    availableKeys: Number(stats.availableKeys),
    coolingKeys: Number(stats.coolingKeys),
    quarantinedKeys: Number(stats.quarantinedKeys),
    disabledKeys: Number(stats.disabledKeys),
    activeLeases: Number(stats.activeLeases),
    waitingAcquires: Number(stats.waitingAcquires),
  };
}

/** A group of keys that rest, less how their verification stands. */
export function restingJson({ verification: _, ...group }: RestingGroup) {
  return {
    ...group,
    state: enumToJson(KeyStateSchema, group.state),
    cause: enumToJson(ErrorClassSchema, group.cause),
    firstBack: isoTime(group.firstBack),
    lastBack: isoTime(group.lastBack),
    firstTry: isoTime(group.firstTry),
  };
}

/** Of unix milliseconds; null: none. */
export function isoTime(ms: number | undefined): string | null {
  return ms === undefined ? null : new Date(ms).toISOString();
}
