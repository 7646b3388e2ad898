import { performance } from 'node:perf_hooks';
import type { Lease } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import type { ClientConnection, Connected } from './client-connection.ts';
import { KeyBalancerError } from './errors.ts';
import type { ClientEvent } from './events.ts';
import { LEASE_METHOD, type LeasedKey, leasedKey } from './leased-key.ts';

/** Takes leases for whoever calls Gemini in a way of his own, and tells of them. */
export class LeasesByHand {
  readonly #connection: ClientConnection;
  readonly #notify: (event: ClientEvent) => void;

  constructor(connection: ClientConnection, notify: (event: ClientEvent) => void) {
    this.#connection = connection;
    this.#notify = notify;
  }

  /** Hands out what was taken, each lease held by `held`. The signal ends the waiting for a connection, too. */
  take<L, T>(
    model: string,
    take: (connected: Connected) => Promise<L>,
    handOut: (taken: L, held: (lease: Lease) => LeasedKey) => T,
    signal?: AbortSignal,
  ): Promise<T> {
    const askedAt = performance.now();
    const about = { method: LEASE_METHOD, model };
    return this.#connection.run(async (connected) => {
      try {
        const taken = await take(connected);
        const waitedMs = performance.now() - askedAt;
        return handOut(taken, (lease) => {
          const { keyId, project } = lease;
          this.#notify({ ...about, type: 'lease', keyId, project, waitedMs, attempt: 0 });
          return leasedKey(lease, { ...connected, notify: this.#notify });
        });
      } catch (error) {
        signal?.throwIfAborted();
        if (error instanceof KeyBalancerError) {
          const { reason, retryAfterMs } = error;
          this.#notify({ ...about, type: 'exhausted', reason, retryAfterMs, attempts: 0 });
        }
        throw error;
      }
    }, signal);
  }
}
