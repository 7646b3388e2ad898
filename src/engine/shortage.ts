import { ErrorClass, KeyReuse, KeyState } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import type { Order } from './acquire.ts';
import { BalancerError } from './errors.ts';
import { allowsModel, type Key, leaseLimit, restingUntil } from './key.ts';
import type { Lane } from './lane.ts';
import type { Pool } from './pool.ts';

/** Leases come back when they are reported, which nobody can foretell: worth asking again so soon. */
const LEASED_RETRY_MS = 1_000;
/** For so long one look at all keys answers for every acquire that asks for the same. */
const FRESH_MS = 20;

/** What an unconstrained acquire of a lane was last told. */
interface Finding {
  settingsVersion: number;
  from: number;
  until: number;
  cause: string;
  /** When the next key is back; 0: a lease has to come back first. */
  readyAt: number;
}

const findings = new WeakMap<Lane, Finding>();

/** Why the pool has no key for the order now. RESOURCE_EXHAUSTED if waiting can help, else FAILED_PRECONDITION. */
export function shortage(pool: Pool, lane: Lane, order: Order, now: number): BalancerError {
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
  const plain = order.matches === undefined && lane.model === order.model;
  const known = plain ? findings.get(lane) : undefined;
  let found: Finding | undefined;
  if (known?.settingsVersion === pool.settingsVersion && now >= known.from && now < known.until) {
    found = known;
  } else {
    found = look(pool, order, now);
    if (plain && found !== undefined) findings.set(lane, found);
  }
  if (found === undefined) {
    return new BalancerError(
      'NO_MATCHING_KEY',
      `pool "${pool.name}" has keys, but none that the request's model, exclude_* and require_* allow`,
      { metadata },
    );
  }
  const retryDelayMs = Math.max(1, found.readyAt === 0 ? LEASED_RETRY_MS : Math.ceil(found.readyAt - now));
  return new BalancerError('NO_KEY_AVAILABLE', `no key of pool "${pool.name}" is free now: ${found.cause}`, {
    metadata: { ...metadata, cause: found.cause },
    retryDelayMs,
  });
}

function look(pool: Pool, order: Order, now: number): Finding | undefined {
  let readyAt = Infinity;
  let resting: Key | undefined;
  let leased = false;
  for (const key of pool.keys) {
    if (key === undefined || key.state === KeyState.DISABLED_ADMIN || key.state === KeyState.DISABLED_AUTO) continue;
    if (!allowsModel(key, order.model) || (order.matches !== undefined && !order.matches(key))) continue;
    const until = restingUntil(key, order.model, now);
    if (until === 0) leased = true;
    else if (until < readyAt) {
      readyAt = until;
      resting = key;
    }
  }
  const common = { settingsVersion: pool.settingsVersion, from: now, until: now + FRESH_MS };
  if (leased) return { ...common, cause: 'all_leased', readyAt: 0 };
  if (resting === undefined) return undefined;
  return { ...common, until: Math.min(common.until, readyAt), cause: causeOf(resting, order.model), readyAt };
}

/** Whether all batches could be filled if every key were free. */
function everFits(pool: Pool, order: Order, { sizes, reuse }: NonNullable<Order['batches']>): boolean {
  const total = sizes.reduce((a, b) => a + b, 0);
  if (pool.settings.maxTotalLeases > 0 && total > pool.settings.maxTotalLeases) return false;
  const mostOfOneKey = reuse === KeyReuse.UNIQUE ? 1 : reuse === KeyReuse.UNIQUE_IN_BATCH ? sizes.length : Infinity;
  let keys = 0;
  let room = 0;
  for (const key of pool.keys) {
    if (key === undefined || key.state === KeyState.DISABLED_ADMIN || key.state === KeyState.DISABLED_AUTO) continue;
    if (!allowsModel(key, order.model)) continue;
    keys++;
    room += Math.min(leaseLimit(key) || Infinity, mostOfOneKey);
  }
  const distinct = reuse === KeyReuse.UNIQUE || reuse === KeyReuse.UNIQUE_IN_BATCH ? Math.max(...sizes) : 0;
  // No key at all is told apart below.
  return keys === 0 || (keys >= distinct && room >= total);
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
