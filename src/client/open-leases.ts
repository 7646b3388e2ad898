import type { Balancer } from './balancer.ts';

/** Leases that were taken and are not reported, for whoever closes and wants them to end first. */
export class OpenLeases {
  readonly #open = new Set<string>();
  #ended = (): void => {};

  /** The balancer, whose leases are counted from now on. Their reports have to go by it, too. */
  around(balancer: Balancer): Balancer {
    const { keyBalancer } = balancer;
    return {
      ...balancer,
      get where() {
        return balancer.where;
      },
      keyBalancer: {
        ...keyBalancer,
        acquireKey: async (request, options) => {
          const response = await keyBalancer.acquireKey(request, options);
          if (response.lease !== undefined) this.#open.add(response.lease.leaseId);
          return response;
        },
        reportResult: (report, options) => {
          if (this.#open.delete(report.leaseId ?? '') && this.#open.size === 0) this.#ended();
          return keyBalancer.reportResult(report, options);
        },
      },
    };
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
