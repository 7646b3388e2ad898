import { ErrorClass, KeyState } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import { fits } from './batch-fit.ts';
import type { Engine } from './engine.ts';
import { BalancerError } from './errors.ts';
import { allowsModel, type Key, leaseLimit } from './key.ts';
import type { Lane } from './lane.ts';
import type { Order } from './order.ts';
import type { Pool } from './pool.ts';
import { soonest } from './readiness.ts';

/** Leases come back when they are reported, which nobody can foretell: worth asking again so soon. */
const LEASED_RETRY_MS = 1_000;

/** Why the pool has no key for the order now. RESOURCE_EXHAUSTED if waiting can help, else FAILED_PRECONDITION. */
export function shortage(engine: Engine, pool: Pool, lane: Lane, order: Order, now: number): BalancerError {
  const metadata = { pool: pool.name, ...(order.model === '' ? {} : { model: order.model }) };
  if (pool.keyCount === 0) {
    return new BalancerError('POOL_EMPTY', `pool "${pool.name}" has no keys`, { metadata });
  }
  if (pool.enabledKeys === 0) {
    return new BalancerError('POOL_EMPTY', `every key of pool "${pool.name}" is disabled`, { metadata });
  }
  if (order.batches !== undefined && !order.batches.partial && !everFits(pool, order, order.batches)) {
    return new BalancerError(
      'NO_MATCHING_KEY',
      `pool "${pool.name}" can never give ${order.batches.sizes.join(' + ')} leases at once: too few keys, or too low limits`,
      { metadata },
    );
  }
  const found = soonest(engine, pool, lane, order, now);
  if (found === undefined) {
    return new BalancerError(
      'NO_MATCHING_KEY',
      `pool "${pool.name}" has keys, but none that the request's model, exclude_* and require_* allow`,
      { metadata },
    );
  }
  const cause = found.readyAt === 0 ? 'all_leased' : causeOf(found.key, order.model);
  const retryDelayMs = Math.max(1, found.readyAt === 0 ? LEASED_RETRY_MS : Math.ceil(found.readyAt - now));
  return new BalancerError('NO_KEY_AVAILABLE', `no key of pool "${pool.name}" is free now: ${cause}`, {
    metadata: { ...metadata, cause },
    retryDelayMs,
  });
}

/** Whether all batches could be filled if every key were free. */
function everFits(pool: Pool, order: Order, batches: NonNullable<Order['batches']>): boolean {
  const { maxTotalLeases } = pool.settings;
  if (maxTotalLeases > 0 && batches.sizes.reduce((a, b) => a + b, 0) > maxTotalLeases) return false;
  let none = true;
  // Made one by one, since the first few keys often are enough.
  function* rooms(): Generator<number> {
    for (const key of pool.keys) {
      if (key === undefined || key.state === KeyState.DISABLED_ADMIN || key.state === KeyState.DISABLED_AUTO) continue;
      if (!allowsModel(key, order.model)) continue;
      none = false;
      yield leaseLimit(key) || Infinity;
    }
  }
  // No key at all is told apart below.
  return fits(batches, rooms()) || none;
}

function causeOf(key: Key, model: string): string {
  const rests = [...key.rests, ...(key.project?.rests ?? [])].filter(
    (rest) => rest.model === '' || rest.model === model,
  );
  const longest = rests.reduce((a, b) => (b.until > a.until ? b : a));
  switch (longest.cause) {
    case ErrorClass.RATE_LIMITED_MINUTE:
    case ErrorClass.RATE_LIMITED_TOKENS:
      return 'rate_limited';
    case ErrorClass.QUOTA_EXHAUSTED_DAY:
    case ErrorClass.QUOTA_ZERO:
      return 'quota_exhausted';
    case ErrorClass.OVERLOADED:
      return 'overloaded';
    case ErrorClass.BILLING:
    case ErrorClass.SPEND_RATE_LIMITED:
      return 'billing';
    case ErrorClass.PERMISSION:
      return 'permission';
    default:
      return 'quarantined';
  }
}
