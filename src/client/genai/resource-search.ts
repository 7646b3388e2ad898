import type { Lease, ReportResultResponse } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { LeaseSearch } from './lease-search.ts';
import type { RequestFacts } from './request-facts.ts';
import type { Origin, ResourceOrigins } from './resource-origins.ts';
import type { Retries } from './retries.ts';

/** What a failed request says of the resources that it named. */
export interface FailedNaming extends Pick<RequestFacts, 'resources' | 'aboutResource'> {
  /** HTTP status of the answer; 0: none came. */
  status: number;
  /** The answer's body; "": it is not known. */
  body: string;
}

/** Whether a failure may only mean that a resource named is another project's. `errorClass`: as it was judged. */
export function isElsewhere(errorClass: string, { resources, aboutResource, status, body }: FailedNaming): boolean {
  if (resources.length === 0) return false;
  if (errorClass === 'RESOURCE_MISMATCH') return true;
  if (errorClass !== 'NOT_FOUND' || status !== 404) return false;
  return aboutResource || (body !== '' && !/\bmodels\//.test(body));
}

/** Finds the project of what the requests with the leases of one search name: where it is known to be, else by trying one after the other. */
export class ResourceSearch {
  readonly #origins: ResourceOrigins;
  readonly #leases: LeaseSearch;
  readonly #retries: Retries;
  #named: readonly string[] = [];
  /** Tries that there were as the leases were bound to a project. */
  #boundAfter = 0;

  constructor(origins: ResourceOrigins, leases: LeaseSearch, retries: Retries) {
    this.#origins = origins;
    this.#leases = leases;
    this.#retries = retries;
  }

  /** Binds the leases that follow to where the resources are, if that is known. */
  bind(resources: readonly string[]): boolean {
    this.#named = resources;
    this.#boundAfter = this.#retries.attempts.length;
    this.#leases.boundTo = this.#origins.of(resources);
    return this.#leases.boundTo !== undefined;
  }

  /** Gives up a binding that no key answers to: its project has another name now, or no key any more. False: there is none, or one did. */
  unbind(): boolean {
    if (this.#leases.boundTo === undefined || this.#retries.attempts.length > this.#boundAfter) return false;
    this.#origins.forget(this.#named);
    this.#leases.boundTo = undefined;
    return true;
  }

  /** Prepares a try elsewhere, after one that failed since the resources are not with this lease. False: there is none to make. */
  follow(lease: Lease, resources: readonly string[], told: ReportResultResponse | undefined): boolean {
    const origin = this.#origins.of(resources);
    if (origin !== undefined && isOf(lease, origin)) {
      // It was there, and is no more; who asks again has it looked for.
      this.#origins.forget(resources);
      return false;
    }
    // Nor is any one project where all of them are that were named so far.
    if (this.#leases.boundTo !== undefined) return false;
    if (!this.bind(resources)) return this.#retries.search(lease, told);
    this.#retries.found(lease, told);
    return true;
  }
}

function isOf({ project, keyId }: Lease, origin: Origin): boolean {
  return origin.project === '' ? origin.keyId === keyId : origin.project === project;
}
