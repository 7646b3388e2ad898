import type { RetryBudget } from './genai/context.ts';

/** Retries that may be made before any call has ended well: a client that has just begun must get along, too. */
const BURST = 10;

/**
 * Tries again that a client may make, as gRPC throttles them: each costs 1, each call that ends well earns `share`, and no more
 * than a burst is saved. So in an outage the load grows by `share` at the most, and not by every call's retries.
 */
export function createRetryBudget(share: number): RetryBudget {
  let saved = share > 0 ? BURST : 0;
  return {
    spend() {
      if (saved < 1) return false;
      saved--;
      return true;
    },
    earn() {
      saved = Math.min(BURST, saved + share);
    },
  };
}
