import { performance } from 'node:perf_hooks';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import type { GoogleGenAI } from '@google/genai';
import { type Lease, Outcome, type ReportResultResponse } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import { attachAttempts } from './attempts.ts';
import type { Balancer } from './balancer.ts';
import { callOutcome } from './call-outcome.ts';
import { KeyBalancerError } from './errors.ts';
import type { ClientEvent, ReportEvent } from './events.ts';
import { endingOf } from './fn-ending.ts';
import type { RetryBudget } from './genai/context.ts';
import { LeaseSearch } from './genai/lease-search.ts';
import { ResourceOrigins } from './genai/resource-origins.ts';
import { isElsewhere, ResourceSearch } from './genai/resource-search.ts';
import { classOf, Retries, toldInTime } from './genai/retries.ts';
import { HeldLease } from './held-lease.ts';
import { type GenAIOptions, leasedGenAI } from './leased-genai.ts';
import { maskKeys } from './mask-keys.ts';
import { Reports } from './reports.ts';
import { RequestWatch } from './request-watch.ts';
import { tokenUsage } from './token-usage.ts';
import { unlessAborted } from './unless-aborted.ts';

/** How a call is made. Times in milliseconds. */
export interface CallSettings {
  pool: string;
  model: string;
  /** Calls of the same are best made with the same key. "": any. */
  affinityKey: string;
  /** Tries after the first, less those that follow a failure of a key's own. */
  maxRetries: number;
  /** Least pause where waiting helps. */
  retryDelay: number;
  /** All waiting for a free key, in one call; undefined: as long as all pauses may take, maxRetries x retryDelay. */
  maxWait: number | undefined;
  /** Ends the call: its requests, pauses and waiting. */
  signal: AbortSignal | undefined;
  /** The same, after so long; undefined: never. */
  deadline: number | undefined;
  /** When the deadline is, by performance.now(). Default: there is none, or it has not begun. */
  endsAt?: number;
  /** What brings it. */
  timeout?: AbortSignal;
  genai: GenAIOptions;
}

type Call<T> = (ai: GoogleGenAI) => T | Promise<T>;

/** What the calls of one client share. */
export interface LeasedCallContext {
  /** Whoever closes the balancer waits for them. */
  reports?: Reports;
  /** Told what happens. */
  notify?: ((event: ClientEvent) => void) | undefined;
  /** What repeats may cost where nobody's key was to blame. */
  budget?: RetryBudget | undefined;
  /** Where the resources are that were seen, by genai() too. */
  origins?: ResourceOrigins;
  /** Projects in which a resource of unknown origin is looked for. Default 8. */
  maxProjects?: number | undefined;
}

/** The deadline, from now on, ends a call as its signal does. */
export function timed(settings: CallSettings): CallSettings {
  const { deadline, signal } = settings;
  if (deadline === undefined) return settings;
  const timeout = AbortSignal.timeout(Math.ceil(deadline));
  return {
    ...settings,
    deadline: undefined,
    endsAt: performance.now() + deadline,
    timeout,
    signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
  };
}

/**
 * One call, in as many tries as it takes and may take: lease a key, run fn with it, report. A try that failed by Gemini's
 * doing is repeated as the balancer advises, each with another key; what fn did wrong itself is thrown at once. The error
 * that ends the call is the last one of Gemini's, with `attempts` on it; at the deadline a TimeoutError, of which that is the cause.
 */
export async function leasedCall<T>(
  balancer: Balancer,
  settings: CallSettings,
  fn: Call<T>,
  context: LeasedCallContext = {},
): Promise<T> {
  const call = new LeasedCall(balancer, timed(settings), context);
  try {
    for (;;) {
      const lease = await call.nextLease();
      const value = await call.attempt(lease, fn);
      if (value !== undefined) return value.value;
    }
  } catch (error) {
    call.tellTries(error);
    throw error;
  }
}

class LeasedCall {
  readonly #balancer: Balancer;
  readonly #settings: CallSettings;
  readonly #reports: Reports;
  readonly #notify: (event: ClientEvent) => void;
  readonly #budget: RetryBudget | undefined;
  readonly #leases: LeaseSearch;
  readonly #retries: Retries;
  readonly #origins: ResourceOrigins;
  readonly #resources: ResourceSearch;
  /** For masking what is thrown. */
  readonly #apiKeys: string[] = [];
  /** Gemini's last error. */
  #failure: { thrown: unknown } | undefined;

  constructor(
    balancer: Balancer,
    settings: CallSettings,
    {
      reports = new Reports(balancer),
      notify = () => {},
      budget,
      origins = new ResourceOrigins(),
      maxProjects,
    }: LeasedCallContext,
  ) {
    this.#balancer = balancer;
    this.#settings = settings;
    this.#reports = reports;
    this.#notify = notify;
    this.#budget = budget;
    this.#origins = origins;
    const { pool, model, affinityKey, maxWait, maxRetries, retryDelay, signal, endsAt } = settings;
    const wanted = { pool, model, estimatedTokens: 0n, affinityKey };
    const patience = { waitMs: maxWait ?? maxRetries * retryDelay, endsAt, signal };
    this.#leases = new LeaseSearch(balancer, wanted, patience);
    const limits = { maxRetries, retryDelay, maxProjects };
    this.#retries = new Retries({ settings: limits, spend: budget }, this.#leases, patience, (event) =>
      notify({ ...this.#call, ...event }),
    );
    this.#resources = new ResourceSearch(origins, this.#leases, this.#retries);
  }

  async nextLease(): Promise<Lease> {
    const { signal } = this.#settings;
    signal?.throwIfAborted();
    const askedAt = performance.now();
    let lease: Lease;
    try {
      lease = await this.#leases.next();
    } catch (error) {
      if (error instanceof KeyBalancerError && error.reason === 'NO_MATCHING_KEY' && this.#resources.unbind()) {
        return this.nextLease();
      }
      signal?.throwIfAborted();
      this.#tellExhausted(error);
      throw this.#failure === undefined ? error : this.#geminis(this.#failure.thrown);
    }
    const { keyId, project } = lease;
    const waitedMs = performance.now() - askedAt;
    this.#notify({ ...this.#call, type: 'lease', keyId, project, waitedMs, attempt: this.#retries.attempts.length });
    return lease;
  }

  /** undefined: it failed, and another try is due. The lease is reported whatever fn does. */
  async attempt<T>(lease: Lease, fn: Call<T>): Promise<{ value: T } | undefined> {
    const { apiKey, keyId } = lease;
    const { signal, genai } = this.#settings;
    this.#apiKeys.push(apiKey);
    const watch = new RequestWatch((names) => this.#origins.remember(names, lease));
    const startedAt = performance.now();
    const held = new HeldLease(this.#balancer, lease);
    const ending = await endingOf(() => fn(leasedGenAI(apiKey, genai, watch, signal)), watch, signal);
    // Where no request was seen, all of fn's time.
    const latencyMs = Math.round(watch.figures.latencyMs ?? performance.now() - startedAt);
    const { outcome, error, geminis } = await callOutcome(ending, watch, { apiKey, signal });
    held.letGo();
    const unseen = watch.unseen && 'value' in ending ? tokenUsage(ending.value) : undefined;
    const usage = watch.figures.usage ?? unseen;
    const isWell = 'value' in ending && outcome === Outcome.SUCCESS;
    if (isWell) this.#budget?.earn();
    const sending = this.#reports.send(
      {
        leaseId: lease.leaseId,
        outcome,
        ...(error === undefined ? {} : { error }),
        ...(usage === undefined ? {} : { usage }),
        latency: durationFromMs(latencyMs),
      },
      keyId,
      isWell,
    );
    const httpStatus = error?.httpStatus ?? watch.last?.status ?? 0;
    const report = { keyId, outcome: OUTCOMES[outcome] ?? 'unused', httpStatus, latencyMs };
    this.#tellReport({ ...report, ...tokensOf(usage) }, sending);
    // Whoever left waits for nothing, nor does whoever got what he wanted.
    if ('aborted' in ending) {
      if (ending.open) this.#retries.attempts.push({ keyId, errorClass: 'CANCELLED', latencyMs });
      throw ending.aborted;
    }
    if (isWell) return ending;
    const told = await unlessAborted(toldInTime(sending), signal);
    if ('value' in ending) return ending;
    if (!geminis) throw maskKeys(ending.thrown, this.#apiKeys);
    this.#failure = ending;
    const errorClass = classOf(told);
    this.#retries.attempts.push({ keyId, errorClass, latencyMs });
    if (watch.lostAnswer) throw this.#geminis(ending.thrown);
    const named = await watch.failedNaming(error?.httpStatus);
    const again =
      named !== undefined && isElsewhere(errorClass, named)
        ? this.#resources.follow(lease, named.resources, told)
        : await this.#retries.follow(told, keyId, error?.httpStatus ?? 0);
    if (!again) throw this.#geminis(ending.thrown);
    return undefined;
  }

  /** The deadline's own error tells what it cut off. The reason of a caller's signal is his, and may be that of many calls. */
  tellTries(error: unknown): void {
    const { timeout } = this.#settings;
    const { attempts } = this.#retries;
    if (!timeout?.aborted || error !== timeout.reason || attempts.length === 0) return;
    attachAttempts(error, attempts);
    if (this.#failure === undefined) return;
    const cause = this.#geminis(this.#failure.thrown);
    Object.defineProperty(error, 'cause', { value: cause, configurable: true, writable: true });
  }

  get #call(): Pick<ClientEvent, 'method' | 'model'> {
    return { method: 'executeWithRetry', model: this.#settings.model };
  }

  #tellExhausted(error: unknown): void {
    if (!(error instanceof KeyBalancerError)) return;
    const { reason, retryAfterMs } = error;
    this.#notify({ ...this.#call, type: 'exhausted', reason, retryAfterMs, attempts: this.#retries.attempts.length });
  }

  /** Once the class is known, or at once where there is none. */
  #tellReport(
    report: Omit<ReportEvent, 'type' | 'method' | 'model' | 'errorClass'>,
    sending: Promise<ReportResultResponse | undefined>,
  ): void {
    const event = { ...this.#call, ...report, type: 'report' as const };
    if (report.outcome !== 'failure') this.#notify({ ...event, errorClass: '' });
    else void toldInTime(sending).then((told) => this.#notify({ ...event, errorClass: classOf(told) }));
  }

  /** What to throw of Gemini's: with the tries that were made, which errors of fn go without. */
  #geminis(thrown: unknown): unknown {
    const masked = maskKeys(thrown, this.#apiKeys);
    attachAttempts(masked, this.#retries.attempts);
    return masked;
  }
}

const OUTCOMES: Partial<Record<Outcome, ReportEvent['outcome']>> = {
  [Outcome.SUCCESS]: 'success',
  [Outcome.FAILURE]: 'failure',
  [Outcome.UNUSED]: 'unused',
};

function tokensOf(usage: { inputTokens?: bigint; outputTokens?: bigint } | undefined) {
  return { inputTokens: Number(usage?.inputTokens ?? 0), outputTokens: Number(usage?.outputTokens ?? 0) };
}
