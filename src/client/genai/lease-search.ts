import type { Lease } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { Balancer } from '../balancer.ts';
import { KeyBalancerError } from '../errors.ts';
import { patientAcquire, type TimeLeft } from '../patient-acquire.ts';
import type { Origin } from './resource-origins.ts';

/** The most that an acquire takes. */
const MOST_EXCLUDED = 64;

/** What every lease of one request is taken for. */
export interface Wanted {
  pool: string;
  model: string;
  estimatedTokens: bigint;
  affinityKey: string;
}

/**
 * The leases of one request, one after the other: each of a key that was not tried, or, where none is free, of one that was to no
 * blame; of the project that the request is bound to, if it is.
 */
export class LeaseSearch {
  /** Where the request has to be made; undefined: anywhere. */
  boundTo: Origin | undefined;
  readonly #balancer: Balancer;
  readonly #wanted: Wanted;
  readonly #left: TimeLeft;
  readonly #signal: AbortSignal | undefined;
  readonly #tried = new Set<string>();
  readonly #badKeys = new Set<string>();
  readonly #badProjects = new Set<string>();

  constructor(balancer: Balancer, wanted: Wanted, waitMs: number, signal: AbortSignal | undefined) {
    this.#balancer = balancer;
    this.#wanted = wanted;
    this.#left = { waitMs };
    this.#signal = signal;
  }

  async next(): Promise<Lease> {
    const lease = await this.#untriedOrWait();
    this.#tried.add(lease.keyId);
    return lease;
  }

  leaveOut(keyIds: Iterable<string>, projects: Iterable<string>): void {
    for (const keyId of keyIds) this.#badKeys.add(keyId);
    for (const project of projects) this.#badProjects.add(project);
  }

  async #untriedOrWait(): Promise<Lease> {
    const reusable = [...this.#tried].some((keyId) => !this.#badKeys.has(keyId));
    try {
      return await this.#acquire(new Set([...this.#badKeys, ...this.#tried]), false);
    } catch (error) {
      if (!isShortage(error)) throw error;
      if (!reusable && (error.reason === 'NO_MATCHING_KEY' || this.#left.waitMs === 0)) throw error;
    }
    return this.#acquire(this.#badKeys, true);
  }

  #acquire(excluded: ReadonlySet<string>, mayWait: boolean): Promise<Lease> {
    const { boundTo } = this;
    const request = {
      ...this.#wanted,
      excludeKeyIds: [...excluded].slice(-MOST_EXCLUDED),
      excludeProjects: [...this.#badProjects].slice(-MOST_EXCLUDED),
      ...(boundTo === undefined
        ? {}
        : boundTo.project === ''
          ? { requireKeyId: boundTo.keyId }
          : { requireProject: boundTo.project }),
    };
    return patientAcquire(this.#balancer, request, {
      left: this.#left,
      mayWait,
      signal: this.#signal,
    });
  }
}

function isShortage(error: unknown): error is KeyBalancerError {
  return (
    error instanceof KeyBalancerError && (error.reason === 'NO_MATCHING_KEY' || error.reason === 'NO_KEY_AVAILABLE')
  );
}
