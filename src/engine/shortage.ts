import { ErrorClass, KeyState } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import { fits } from './batch-fit.ts';
import { brokenUntil } from './breakers.ts';
import type { Engine } from './engine.ts';
import { BalancerError } from './errors.ts';
import { allowsModel, checkedAt, type Key, leaseLimit, readyAt, triesDay } from './key.ts';
import type { Lane } from './lane.ts';
import { candidates, type Order } from './order.ts';
import type { Pool } from './pool.ts';
import type { Moment } from './quota/moment.ts';
import { type Soonest, soonest } from './readiness.ts';
import { blocksUntil, isHalfOpen, type Rest } from './rest.ts';

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
      `pool "${pool.name}" has keys, but none that the request's model, exclude_*, require_* and limits of 0 allow`,
      { metadata },
    );
  }
  const broken = brokenUntil(engine, order.model, now);
  const { cause, retryDelayMs } =
    broken > found.readyAt
      ? { cause: 'overloaded', retryDelayMs: untilTried(engine.breakers.get(order.model)!.rests, broken, now) }
      : whyNotYet(found, order, engine.moment(now));
  return new BalancerError('NO_KEY_AVAILABLE', `no key of pool "${pool.name}" is free now: ${cause}`, {
    metadata: { ...metadata, cause },
    retryDelayMs: Math.max(1, Math.ceil(retryDelayMs)),
  });
}

/** Why waiting cannot help; undefined: it can. Cheaper than shortage(), as every acquire that waits asks. */
export function hopeless(engine: Engine, pool: Pool, lane: Lane, order: Order, now: number): BalancerError | undefined {
  if (order.batches === undefined && pool.enabledKeys > 0) {
    const at = engine.moment(now);
    for (const key of candidates(engine, pool, order)) {
      if (key?.pool !== pool || !isEnabled(key) || !allowsModel(key, order.model)) continue;
      if (order.matches?.(key) !== false && readyAt(key, order.model, order.tokens, at) < Infinity) return undefined;
    }
  }
  const why = shortage(engine, pool, lane, order, now);
  return why.code === 'RESOURCE_EXHAUSTED' ? undefined : why;
}

function isEnabled({ state }: Key): boolean {
  return state !== KeyState.DISABLED_ADMIN && state !== KeyState.DISABLED_AUTO;
}

/** What keeps the key back that comes first, and for how long. */
function whyNotYet(
  { key, readyAt: soonestAt }: Soonest,
  order: Order,
  at: Moment,
): { cause: string; retryDelayMs: number } {
  if (soonestAt === 0) return { cause: 'all_leased', retryDelayMs: LEASED_RETRY_MS };
  if (checkedAt(key, at.now) >= soonestAt) return { cause: 'quarantined', retryDelayMs: soonestAt - at.now };
  const blocking = [...key.rests, ...key.project.rests].filter(
    (rest) => (rest.model === '' || rest.model === order.model) && blocksUntil(rest, at.now) > 0,
  );
  const longest = blocking.reduce<Rest | undefined>(
    (a, b) => (a !== undefined && blocksUntil(a, at.now) >= blocksUntil(b, at.now) ? a : b),
    undefined,
  );
  const meter = key.project.gates?.get(order.model)?.meter;
  const quotaReadyAt = meter?.readyAt(order.tokens, at, triesDay(key.project, order.model, at.now)) ?? 0;
  if (longest === undefined || quotaReadyAt >= soonestAt) {
    const isDays = quotaReadyAt - at.now > MINUTE_MS;
    return { cause: isDays ? 'quota_exhausted' : 'rate_limited', retryDelayMs: soonestAt - at.now };
  }
  return { cause: causeOf(longest.cause), retryDelayMs: untilTried([longest], soonestAt, at.now) };
}

/** Until what rests may be called. A lease that tries whether it is over may be reported at any moment. */
function untilTried(rests: readonly Rest[], readyAt: number, now: number): number {
  const isTried = rests.every((rest) => isHalfOpen(rest, now));
  return isTried ? Math.min(LEASED_RETRY_MS, readyAt - now) : readyAt - now;
}

const MINUTE_MS = 60_000;

/** Whether all batches could be filled if every key were free. */
function everFits(pool: Pool, order: Order, batches: NonNullable<Order['batches']>): boolean {
  const { maxTotalLeases } = pool.settings;
  if (maxTotalLeases > 0 && batches.sizes.reduce((a, b) => a + b, 0) > maxTotalLeases) return false;
  let none = true;
  // Made one by one, since the first few keys often are enough.
  function* rooms(): Generator<number> {
    for (const key of pool.keys) {
      if (key === undefined || !isEnabled(key)) continue;
      if (!allowsModel(key, order.model)) continue;
      none = false;
      yield leaseLimit(key) || Infinity;
    }
  }
  // No key at all is told apart below.
  return fits(batches, rooms()) || none;
}

function causeOf(cause: ErrorClass): string {
  switch (cause) {
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
    case ErrorClass.LOCATION:
    case ErrorClass.NOT_FOUND:
      return 'permission';
    default:
      return 'quarantined';
  }
}
