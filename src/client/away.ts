import { KeyBalancerError } from './errors.ts';

/**
 * Whether the balancer was away (restarting, draining, its store in trouble), and may be back soon. A repeat is told from
 * its first, by its request id or its lease, so sending it twice is safe.
 */
export function isAway(error: unknown): boolean {
  return error instanceof KeyBalancerError && error.code === 'UNAVAILABLE' && error.reason !== 'BALANCER_AWAY';
}

/** Milliseconds before the next try at a balancer that is away; apart from each other, since many callers wait at once. */
export function awayPauseMs(shortest = 50, longest = 400): number {
  return shortest + Math.random() * (longest - shortest);
}
