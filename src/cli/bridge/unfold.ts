import {
  HealthEventKind,
  type KeyHealth,
  type PoolStats,
  type WatchHealthResponse,
} from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { Noticed } from './event.ts';

const OF_KEYS: readonly HealthEventKind[] = [
  HealthEventKind.KEY_ADDED,
  HealthEventKind.KEY_CHANGED,
  HealthEventKind.KEY_REMOVED,
];

/**
 * A message of the watch as what a sink is told. A page of a snapshot, which is too large for many sinks, becomes as many snapshots of
 * one pool or key each. Heartbeats only move the token on. `kinds`: those that are watched, empty for all; a snapshot, which the server
 * does not filter, then has only what they are about.
 */
export function unfold(message: WatchHealthResponse, kinds: readonly HealthEventKind[]): Noticed[] {
  const { event, resumeToken } = message;
  if (event.case === 'change') return [{ told: { health: message }, resumeToken }];
  if (event.case !== 'snapshot') return [{ told: undefined, resumeToken }];
  const { keys, pools, more, reset } = event.value;
  const wantsKeys = kinds.length === 0 || kinds.some((kind) => OF_KEYS.includes(kind));
  const wantsPools = kinds.length === 0 || kinds.some((kind) => !OF_KEYS.includes(kind));
  const parts = [
    ...(wantsPools ? pools.map((pool) => ({ keys: [], pools: [pool] })) : []),
    ...(wantsKeys ? keys.map((key) => ({ keys: [key], pools: [] })) : []),
  ];
  if (parts.length === 0) return [{ told: undefined, resumeToken }];
  return parts.map((part, index) => {
    const isLast = index === parts.length - 1;
    const health = partOf(message, { ...part, more: more || !isLast, reset: reset && index === 0 });
    // Only when all of it is delivered, a watch may go on after it.
    return { told: { health }, resumeToken: isLast ? resumeToken : '' };
  });
}

function partOf(
  { $typeName, eventTime }: WatchHealthResponse,
  part: { keys: KeyHealth[]; pools: PoolStats[]; more: boolean; reset: boolean },
): WatchHealthResponse {
  const value = { $typeName: 'keybalancer.v1.HealthSnapshot', ...part } as const;
  return { $typeName, resumeToken: '', ...(eventTime && { eventTime }), event: { case: 'snapshot', value } };
}
