import { performance } from 'node:perf_hooks';
import type { Lease } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { Balancer } from '../balancer.ts';
import { KeyBalancerError } from '../errors.ts';
import { patientAcquire } from '../patient-acquire.ts';
import type { TimeLeft } from '../patiently.ts';
import type { Origin } from './resource-origins.ts';

/** The most that an acquire takes. */
const MOST_EXCLUDED = 64;
/** The balancer says no more than this where it cannot foresee when a lease comes back: that may be at any moment. */
const GUESSED_MS = 1_000;

/** What every lease of one request is taken for. */
export interface Wanted {
  pool: string;
  model: string;
  estimatedTokens: bigint;
  affinityKey: string;
}

/** How long a request may wait for its leases. */
export interface Patience {
  /** Milliseconds, all waiting for a free key together. */
  waitMs: number;
  /** When it ends anyway, by performance.now(); undefined: never. */
  endsAt?: number | undefined;
  /** Ends it. */
  signal: AbortSignal | undefined;
}

/** Keys and projects that are not wanted. */
interface LeftOut {
  keyIds: Set<string>;
  projects: Set<string>;
}

/**
 * The leases of one request, one after the other: each of a key that was not tried, or, where none is free, of one that was and that
 * the balancer holds to be good now; of the project that the request is bound to, if it is.
 */
export class LeaseSearch {
  /** Where the request has to be made; undefined: anywhere. */
  boundTo: Origin | undefined;
  readonly #balancer: Balancer;
  readonly #wanted: Wanted;
  readonly #left: TimeLeft;
  readonly #signal: AbortSignal | undefined;
  readonly #tried = new Set<string>();
  /** Of no use to this request, whatever comes. */
  readonly #refused: LeftOut = { keyIds: new Set(), projects: new Set() };
  /** Behind a limit, say: the balancer lends them again when that is over. */
  readonly #resting: LeftOut = { keyIds: new Set(), projects: new Set() };

  constructor(balancer: Balancer, wanted: Wanted, { waitMs, endsAt, signal }: Patience) {
    this.#balancer = balancer;
    this.#wanted = wanted;
    this.#left = { waitMs, endsAt };
    this.#signal = signal;
  }

  async next(): Promise<Lease> {
    const lease = await this.#untriedOrWait();
    this.#tried.add(lease.keyId);
    return lease;
  }

  /** `rests`: models for which the balancer itself holds the keys back, "" for all; whoever is held back may be had later. */
  leaveOut(keyIds: Iterable<string>, projects: Iterable<string>, rests: readonly string[] = []): void {
    const isHeldBack = rests.some((model) => model === '' || model === this.#wanted.model);
    const { keyIds: leftOut, projects: ofProjects } = isHeldBack ? this.#resting : this.#refused;
    for (const keyId of keyIds) leftOut.add(keyId);
    for (const project of projects) ofProjects.add(project);
  }

  /** Whether the key was left out before. */
  hasLeftOut(keyId: string): boolean {
    return this.#resting.keyIds.has(keyId) || this.#refused.keyIds.has(keyId);
  }

  /** Whether an acquire can leave out one key more. */
  get hasRoom(): boolean {
    return this.#resting.keyIds.size + this.#refused.keyIds.size < MOST_EXCLUDED;
  }

  async #untriedOrWait(): Promise<Lease> {
    const { keyIds, projects } = this.#refused;
    const reusable = [...this.#tried].filter((keyId) => !keyIds.has(keyId));
    const untried = {
      // The last ones count, if they are too many.
      keyIds: new Set([...reusable, ...keyIds]),
      projects: new Set([...this.#resting.projects, ...projects]),
    };
    const first = await this.#unlessShort(untried);
    if (!(first instanceof KeyBalancerError)) return first;
    const second = reusable.length > 0 ? await this.#unlessShort(this.#refused) : first;
    if (!(second instanceof KeyBalancerError)) return second;
    if (this.#isFutile(second)) throw second;
    return this.#acquire(this.#refused, true);
  }

  /** A lease that is to be had now, or why none is. */
  async #unlessShort(leftOut: LeftOut): Promise<Lease | KeyBalancerError> {
    try {
      return await this.#acquire(leftOut, false);
    } catch (error) {
      if (isShortage(error)) return error;
      throw error;
    }
  }

  /** Whether no key comes in the time that is left, as the balancer foresees it. */
  #isFutile({ reason, retryAfterMs = 0 }: KeyBalancerError): boolean {
    const { waitMs, endsAt = Number.POSITIVE_INFINITY } = this.#left;
    if (reason === 'NO_MATCHING_KEY' || waitMs === 0) return true;
    return retryAfterMs > GUESSED_MS && retryAfterMs > Math.min(waitMs, endsAt - performance.now());
  }

  #acquire(leftOut: LeftOut, mayWait: boolean): Promise<Lease> {
    const { boundTo } = this;
    const request = {
      ...this.#wanted,
      excludeKeyIds: [...leftOut.keyIds].slice(-MOST_EXCLUDED),
      excludeProjects: [...leftOut.projects].slice(-MOST_EXCLUDED),
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
