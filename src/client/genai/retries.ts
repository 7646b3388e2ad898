import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { durationMs } from '@bufbuild/protobuf/wkt';
import {
  ErrorClass,
  ErrorClassSchema,
  KeyState,
  type ReportResultResponse,
  type RetryAdvice,
} from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { Attempt } from '../attempts.ts';
import type { ClientEvent } from '../events.ts';
import { within } from '../within.ts';
import type { LeaseSettings, RetryBudget } from './context.ts';
import type { LeaseSearch, Patience } from './lease-search.ts';

type Advice = Pick<RetryAdvice, 'retry' | 'delay' | 'excludeKeyIds' | 'excludeProjects'>;
export type Notify = (event: WithoutRequest<ClientEvent>) => void;
type WithoutRequest<T> = T extends unknown ? Omit<T, 'method' | 'model'> : never;

interface RetriesContext {
  settings: Pick<LeaseSettings, 'maxRetries' | 'retryDelay' | 'maxProjects'>;
  spend?: RetryBudget | undefined;
}

/** Where the balancer could not advise: another key may help, and the next report brings advice. */
const UNADVISED: Advice = { retry: true, excludeKeyIds: [], excludeProjects: [] };
/** Who is told to come back later than this is better told so than kept. */
const LONGEST_PAUSE_MS = 30_000;
/** Longest wait of a request for the answer to its report, which is sent again behind its back. */
const REPORT_WAIT_MS = 1_500;
const MOST_PROJECTS = 8;

/** The tries of one request, and whether another follows. */
export class Retries {
  readonly attempts: Attempt[] = [];
  readonly #context: RetriesContext;
  readonly #leases: LeaseSearch;
  readonly #endsAt: number;
  readonly #signal: AbortSignal | undefined;
  readonly #notify: Notify;
  /** Tries that count: not those that looked for a resource, nor those after a failure that was a key's own. */
  #retries = 0;
  /** Projects in which a resource of unknown origin was looked for. */
  #searched = 0;

  constructor(
    context: RetriesContext,
    leases: LeaseSearch,
    { endsAt = Number.POSITIVE_INFINITY, signal }: Pick<Patience, 'endsAt' | 'signal'>,
    notify: Notify,
  ) {
    this.#context = context;
    this.#leases = leases;
    this.#endsAt = endsAt;
    this.#signal = signal;
    this.#notify = notify;
  }

  /** Prepares another try, as the balancer advises. False: none is to be made. `status`: of Gemini's answer, 0 where none came. */
  async follow(told: ReportResultResponse | undefined, keyId: string, status: number): Promise<boolean> {
    // A report that was sent twice, because its answer was lost, is answered without advice.
    const advice = told?.retryAdvice ?? { ...UNADVISED, excludeKeyIds: [keyId] };
    const { settings, spend } = this.#context;
    const advised = advice.delay === undefined ? 0 : durationMs(advice.delay);
    const delayMs = advised === 0 ? 0 : Math.max(advised, settings.retryDelay);
    if (!advice.retry || settings.maxRetries === 0 || advised > LONGEST_PAUSE_MS) return false;
    // Nobody waits for a try that cannot come.
    if (performance.now() + delayMs >= this.#endsAt) return false;
    // The balancer rests what it blames, so such failures are no more than there are bad keys; and one that comes again counts.
    const isKeys = told !== undefined && isKeysOwn(told) && !this.#leases.hasLeftOut(keyId);
    if (isKeys ? !this.#leases.hasRoom : this.#retries >= settings.maxRetries) return false;
    // A key to blame is left out and done with; trouble of the provider's comes again with each repeat.
    const isProviders =
      told?.retryAdvice === undefined ? status === 0 || status >= 500 : advice.excludeKeyIds.length === 0;
    if (isProviders && spend?.spend() === false) return false;
    if (!isKeys) this.#retries++;
    this.#leases.leaveOut(advice.excludeKeyIds, advice.excludeProjects, modelsAtRest(told));
    this.#tell(keyId, told, delayMs, false);
    const signal = this.#signal;
    if (delayMs > 0) await sleep(delayMs, undefined, { signal }).catch(() => signal?.throwIfAborted());
    return true;
  }

  /** Prepares a look for a resource in another project: the one exception to that its failure is not tried again. */
  search({ keyId, project }: { keyId: string; project: string }, told: ReportResultResponse | undefined): boolean {
    this.#searched++;
    if (this.#searched >= (this.#context.settings.maxProjects ?? MOST_PROJECTS)) return false;
    this.#leases.leaveOut([keyId], project === '' ? [] : [project]);
    this.found({ keyId }, told);
    return true;
  }

  /** Tells of a try where the resource is known to be. */
  found({ keyId }: { keyId: string }, told: ReportResultResponse | undefined): void {
    this.#tell(keyId, told, 0, true);
  }

  #tell(keyId: string, told: ReportResultResponse | undefined, delayMs: number, search: boolean): void {
    const attempt = this.attempts.length;
    this.#notify({ type: 'retry', keyId, errorClass: classOf(told), delayMs, attempt, search });
  }
}

/** Classes that a request may bring about with any key, if they do not make the key itself rest: a 403 need not say why. */
const PERHAPS_THE_REQUESTS: ReadonlySet<ErrorClass> = new Set([
  ErrorClass.PERMISSION,
  ErrorClass.NOT_FOUND,
  ErrorClass.LOCATION,
]);

/** Whether a failure was that of the key or its project, so that it says nothing of what the next key does. */
function isKeysOwn({ errorClass, retryAdvice, keyHealth }: ReportResultResponse): boolean {
  if (retryAdvice === undefined || retryAdvice.excludeKeyIds.length === 0) return false;
  if (!PERHAPS_THE_REQUESTS.has(errorClass)) return true;
  return keyHealth?.cooldowns.some(({ cause, projectWide }) => cause === errorClass && !projectWide) === true;
}

/** Models that the key rests for and then serves again, "" for all. One that is suspected may be dead. */
function modelsAtRest(told: ReportResultResponse | undefined): string[] {
  const { state, cooldowns = [] } = told?.keyHealth ?? {};
  const comesBack = state === KeyState.AVAILABLE || state === KeyState.COOLING;
  return comesBack ? cooldowns.map(({ model }) => model) : [];
}

/** The answer to a report; undefined: it takes longer than a request waits. */
export function toldInTime(
  sending: Promise<ReportResultResponse | undefined>,
): Promise<ReportResultResponse | undefined> {
  return within(REPORT_WAIT_MS, sending);
}

/** ErrorClass name; "UNKNOWN" where the balancer did not say. */
export function classOf(told: ReportResultResponse | undefined): string {
  return (told && ErrorClassSchema.value[told.errorClass]?.localName) || 'UNKNOWN';
}
