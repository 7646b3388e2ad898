import { ErrorClass } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import type { Reason } from './errors.ts';
import { noUsage, type UsageCounts } from './usage.ts';

/**
 * What happened in a pool since the process began. Unlike UsageCounts nothing is ever taken back: monitoring takes a counter that
 * falls for one that began anew, and counts all of it again. So a lease that ended unreported and is reported late is in here twice.
 */
export interface Counters extends UsageCounts {
  acquired: number;
  /** By ErrorClass name, such as RATE_LIMITED_MINUTE. */
  readonly failures: Record<string, number>;
  /** Acquires that got no key, by reason. */
  readonly refusals: Record<string, number>;
}

/** What an acquire that reached a pool is refused for. */
const REFUSALS: readonly Reason[] = [
  'NO_KEY_AVAILABLE',
  'QUEUE_FULL',
  'NO_MATCHING_KEY',
  'POOL_EMPTY',
  'DRAINING',
  'OPERATION_CANCELLED',
];

const CLASSES = Object.keys(ErrorClass).filter((name) => name !== 'UNSPECIFIED');

/** All of them at 0: of a counter that begins with its first event, monitoring does not see that event. */
export function noCounters(): Counters {
  return { ...noUsage(), acquired: 0, failures: zeros(CLASSES), refusals: zeros(REFUSALS) };
}

function zeros(names: readonly string[]): Record<string, number> {
  return Object.fromEntries(names.map((name) => [name, 0]));
}
