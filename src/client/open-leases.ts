import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  ErrorClass,
  Outcome,
  type ReportResultRequestSchema,
  ReportResultResponseSchema,
  TransportFailure,
} from '../gen/keybalancer/v1/keybalancer_pb.ts';
import type { Balancer } from './balancer.ts';

/** As a call is reported that its caller gave up. */
const GIVEN_UP: MessageInitShape<typeof ReportResultRequestSchema> = {
  outcome: Outcome.FAILURE,
  error: { message: 'still running when its client was closed', transportFailure: TransportFailure.CANCELLED },
};

/** What a report is answered that comes after that: there is nothing more to try. */
const NOBODY_ASKS = create(ReportResultResponseSchema, {
  errorClass: ErrorClass.CANCELLED,
  retryAdvice: { retry: false },
});

/** Leases that were taken and are not reported, for whoever closes and wants them to end first. */
export class OpenLeases {
  readonly #open = new Set<string>();
  readonly #givenUp = new Set<string>();
  #ended = (): void => {};

  /** The balancer, whose leases are counted from now on. Their reports have to go by it, too. */
  around(balancer: Balancer): Balancer {
    const { keyBalancer } = balancer;
    return {
      ...balancer,
      get where() {
        return balancer.where;
      },
      get inProcess() {
        return balancer.inProcess ?? false;
      },
      keyBalancer: {
        ...keyBalancer,
        acquireKey: async (request, options) => {
          const response = await keyBalancer.acquireKey(request, options);
          if (response.lease !== undefined) this.#open.add(response.lease.leaseId);
          return response;
        },
        reportResult: (report, options) => {
          if (this.#givenUp.has(report.leaseId ?? '')) {
            return Promise.resolve(NOBODY_ASKS);
          }
          if (this.#open.delete(report.leaseId ?? '') && this.#open.size === 0) this.#ended();
          return keyBalancer.reportResult(report, options);
        },
      },
    };
  }

  /**
   * Reports those that are open as given up, in `timeoutMs` at most: calls that do not end would keep their keys until the leases end by
   * their time. What such a call reports later counts for nothing.
   */
  async giveUp({ keyBalancer }: Balancer, timeoutMs: number): Promise<void> {
    const giving = [...this.#open].map((leaseId) => {
      this.#givenUp.add(leaseId);
      return keyBalancer.reportResult({ ...GIVEN_UP, leaseId }, { timeoutMs });
    });
    this.#open.clear();
    await Promise.allSettled(giving);
  }

  /** Resolves when there is none. */
  async none(): Promise<void> {
    while (this.#open.size > 0) {
      await new Promise<void>((resolve) => {
        this.#ended = resolve;
      });
    }
  }
}
