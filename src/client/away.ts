import { KeyBalancerError } from './errors.ts';

/**
 * Whether the balancer was away (restarting, draining, its store in trouble), and may be back soon. A repeat is told from
 * its first, by its request id or its lease, so sending it twice is safe.
 */
export function isAway(error: unknown): boolean {
  return error instanceof KeyBalancerError && error.code === 'UNAVAILABLE' && error.reason !== 'BALANCER_AWAY';
}

/** A balancer that does not answer in its time is away, as one that cannot be reached: it may be frozen, or the way to it cut. */
export async function inTime<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    const isLate = error instanceof KeyBalancerError && error.code === 'DEADLINE_EXCEEDED' && error.reason === '';
    throw isLate ? new KeyBalancerError(error.message, { code: 'UNAVAILABLE', cause: error }) : error;
  }
}

/** Milliseconds before the next try at a balancer that is away; apart from each other, since many callers wait at once. */
export function awayPauseMs(shortest = 50, longest = 400): number {
  return shortest + Math.random() * (longest - shortest);
}
