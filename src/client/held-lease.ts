import { performance } from 'node:perf_hooks';
import { clearTimeout, setTimeout } from 'node:timers';
import { durationMs } from '@bufbuild/protobuf/wkt';
import type { Lease } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import { isAway } from './away.ts';
import type { Balancer } from './balancer.ts';
import { KeyBalancerError } from './errors.ts';

/** A call that never ends must not hold a key for ever. */
const LONGEST_HELD_MS = 60 * 60_000;
const RENEW_AGAIN_MS = 1_000;

/** A lease that renews itself until it is let go. */
export class HeldLease {
  readonly lease: Lease;
  readonly #balancer: Balancer;
  readonly #heldSince = performance.now();
  #timer: NodeJS.Timeout | undefined;
  #ended = false;

  constructor(balancer: Balancer, lease: Lease) {
    this.#balancer = balancer;
    this.lease = lease;
    this.#renewAfter(ttlMs(lease) / 2);
  }

  letGo(): void {
    this.#ended = true;
    clearTimeout(this.#timer);
  }

  #renewAfter(delayMs: number): void {
    if (this.#ended || performance.now() - this.#heldSince > LONGEST_HELD_MS) return;
    this.#timer = setTimeout(() => void this.#renew(), delayMs).unref();
  }

  async #renew(): Promise<void> {
    try {
      this.#renewAfter(ttlMs(await this.#balancer.keyBalancer.renewLease({ leaseId: this.lease.leaseId })) / 2);
    } catch (error) {
      const late = error instanceof KeyBalancerError && error.code === 'DEADLINE_EXCEEDED';
      // What is over stays over; its report still counts.
      if (late || isAway(error)) this.#renewAfter(RENEW_AGAIN_MS);
    }
  }
}

function ttlMs({ ttl }: Pick<Lease, 'ttl'>): number {
  return ttl === undefined ? 0 : durationMs(ttl);
}
