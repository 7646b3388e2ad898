import { setTimeout as sleep } from 'node:timers/promises';
import type { MessageInitShape } from '@bufbuild/protobuf';
import { durationMs } from '@bufbuild/protobuf/wkt';
import type {
  AcquireKeyRequestSchema,
  Lease,
  ReportResultRequestSchema,
  ReportResultResponse,
} from '../gen/keybalancer/v1/keybalancer_pb.ts';
import type { Balancer } from './balancer.ts';
import { KeyBalancerError } from './errors.ts';

/** A report that finds the balancer away is sent again after these milliseconds, then given up. */
const REPORT_AGAIN_MS = [100, 300, 1_000];
/** A call that never ends must not hold a key for ever. */
const LONGEST_HELD_MS = 60 * 60_000;
const RENEW_AGAIN_MS = 1_000;

export type ReportFields = Omit<MessageInitShape<typeof ReportResultRequestSchema>, '$typeName' | 'leaseId'>;

/** A lease that renews itself until it is reported. */
export class HeldLease {
  readonly lease: Lease;
  readonly #balancer: Balancer;
  readonly #heldSince = performance.now();
  #timer: NodeJS.Timeout | undefined;
  #ended = false;

  private constructor(balancer: Balancer, lease: Lease) {
    this.#balancer = balancer;
    this.lease = lease;
    this.#renewAfter(ttlMs(lease) / 2);
  }

  static async acquire(
    balancer: Balancer,
    request: MessageInitShape<typeof AcquireKeyRequestSchema>,
    signal: AbortSignal | undefined,
  ): Promise<HeldLease> {
    const { lease } = await balancer.keyBalancer.acquireKey(request, { signal });
    if (lease === undefined) throw new KeyBalancerError('the answer holds no lease', { code: 'INTERNAL' });
    return new HeldLease(balancer, lease);
  }

  /** Ends the lease. Never rejects: what fn did stands, whatever becomes of its report; undefined: it could not be delivered. */
  async report(fields: ReportFields): Promise<ReportResultResponse | undefined> {
    this.#ended = true;
    clearTimeout(this.#timer);
    for (let tries = 0; ; tries++) {
      try {
        return await this.#balancer.keyBalancer.reportResult({ ...fields, leaseId: this.lease.leaseId });
      } catch (error) {
        const delay = REPORT_AGAIN_MS[tries];
        if (delay === undefined || !isPassing(error)) {
          const { keyId } = this.lease;
          process.emitWarning(`a report on key ${keyId} was lost: ${(error as Error).message}`, 'KeyBalancerWarning');
          return undefined;
        }
        await sleep(delay);
      }
    }
  }

  #renewAfter(delayMs: number): void {
    if (this.#ended || performance.now() - this.#heldSince > LONGEST_HELD_MS) return;
    this.#timer = setTimeout(() => void this.#renew(), delayMs).unref();
  }

  async #renew(): Promise<void> {
    try {
      this.#renewAfter(ttlMs(await this.#balancer.keyBalancer.renewLease({ leaseId: this.lease.leaseId })) / 2);
    } catch (error) {
      // What is over stays over; its report still counts.
      if (isPassing(error)) this.#renewAfter(RENEW_AGAIN_MS);
    }
  }
}

/** Whether the balancer was away, and may be back soon. A report is told from its repeat, so sending it twice is safe. */
function isPassing(error: unknown): boolean {
  return error instanceof KeyBalancerError && (error.code === 'UNAVAILABLE' || error.code === 'DEADLINE_EXCEEDED');
}

function ttlMs({ ttl }: Pick<Lease, 'ttl'>): number {
  return ttl === undefined ? 0 : durationMs(ttl);
}
