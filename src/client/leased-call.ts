import { setTimeout as sleep } from 'node:timers/promises';
import { durationFromMs, durationMs } from '@bufbuild/protobuf/wkt';
import type { GoogleGenAI } from '@google/genai';
import {
  type ErrorClass,
  ErrorClassSchema,
  type Lease,
  Outcome,
  type ReportResultResponse,
  type RetryAdvice,
} from '../gen/keybalancer/v1/keybalancer_pb.ts';
import { type Attempt, attachAttempts } from './attempts.ts';
import type { Balancer } from './balancer.ts';
import { callOutcome, type Ending } from './call-outcome.ts';
import { KeyBalancerError } from './errors.ts';
import type { ClientEvent } from './events.ts';
import type { RetryBudget } from './genai/context.ts';
import { HeldLease } from './held-lease.ts';
import { type GenAIOptions, leasedGenAI } from './leased-genai.ts';
import { maskKeys } from './mask-keys.ts';
import { patientAcquire, type TimeLeft } from './patient-acquire.ts';
import { Reports } from './reports.ts';
import { RequestWatch } from './request-watch.ts';
import { tokenUsage } from './token-usage.ts';

/** How a call is made. Times in milliseconds. */
export interface CallSettings {
  pool: string;
  model: string;
  /** Tries after the first. */
  maxRetries: number;
  /** Least pause where waiting helps. */
  retryDelay: number;
  /** All waiting for a free key, in one call; undefined: as long as all pauses may take, maxRetries x retryDelay. */
  maxWait: number | undefined;
  /** Ends the call: its requests, pauses and waiting. */
  signal: AbortSignal | undefined;
  /** The same, after so long; undefined: never. */
  deadline: number | undefined;
  genai: GenAIOptions;
}

type Advice = Pick<RetryAdvice, 'retry' | 'delay' | 'excludeKeyIds' | 'excludeProjects'>;

/** Where the balancer could not advise: another key may help, and the next report brings advice. */
const UNADVISED: Advice = { retry: true, excludeKeyIds: [], excludeProjects: [] };
/** The most that an acquire takes. */
const MOST_EXCLUDED = 64;
/** Who is told to come back later than this is better told so than kept. */
const LONGEST_PAUSE_MS = 30_000;
/** Longest wait of a call for the answer to its report, which is sent again behind its back. */
const REPORT_WAIT_MS = 1_500;

type Call<T> = (ai: GoogleGenAI) => T | Promise<T>;

/** What the calls of one client share. */
export interface LeasedCallContext {
  /** Whoever closes the balancer waits for them. */
  reports?: Reports;
  /** Told what happens. */
  notify?: ((event: ClientEvent) => void) | undefined;
  /** What repeats may cost where nobody's key was to blame. */
  budget?: RetryBudget | undefined;
}

/** The deadline ends a call as its signal does. */
function timed(settings: CallSettings): CallSettings {
  const { deadline, signal } = settings;
  if (deadline === undefined) return settings;
  const timeout = AbortSignal.timeout(deadline);
  return { ...settings, signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]) };
}

/**
 * One call, in as many tries as it takes and may take: lease a key, run fn with it, report. A try that failed by Gemini's
 * doing is repeated as the balancer advises, each with another key; what fn did wrong itself is thrown at once. The error
 * that ends the call is the last one of Gemini's, with `attempts` on it.
 */
export async function leasedCall<T>(
  balancer: Balancer,
  settings: CallSettings,
  fn: Call<T>,
  { reports = new Reports(balancer), notify = () => {}, budget }: LeasedCallContext = {},
): Promise<T> {
  const call = new LeasedCall(balancer, timed(settings), { reports, notify, budget });
  for (;;) {
    const lease = await call.nextLease();
    const value = await call.attempt(lease, fn);
    if (value !== undefined) return value.value;
  }
}

class LeasedCall {
  readonly #balancer: Balancer;
  readonly #settings: CallSettings;
  readonly #reports: Reports;
  readonly #notify: (event: ClientEvent) => void;
  readonly #budget: RetryBudget | undefined;
  readonly #attempts: Attempt[] = [];
  /** For masking what is thrown. */
  readonly #apiKeys: string[] = [];
  readonly #tried = new Set<string>();
  /** What the balancer advised to leave out. */
  readonly #badKeys = new Set<string>();
  readonly #badProjects = new Set<string>();
  /** Gemini's last error. */
  #failure: { thrown: unknown } | undefined;
  readonly #left: TimeLeft;

  constructor(
    balancer: Balancer,
    settings: CallSettings,
    {
      reports,
      notify,
      budget,
    }: { reports: Reports; notify: (event: ClientEvent) => void; budget: RetryBudget | undefined },
  ) {
    this.#balancer = balancer;
    this.#settings = settings;
    this.#reports = reports;
    this.#notify = notify;
    this.#budget = budget;
    this.#left = { waitMs: settings.maxWait ?? settings.maxRetries * settings.retryDelay };
  }

  async nextLease(): Promise<Lease> {
    this.#settings.signal?.throwIfAborted();
    const askedAt = performance.now();
    try {
      const lease = await this.#untriedOrWait();
      const { keyId, project } = lease;
      const waitedMs = performance.now() - askedAt;
      this.#notify({ ...this.#call, type: 'lease', keyId, project, waitedMs, attempt: this.#attempts.length });
      return lease;
    } catch (error) {
      this.#settings.signal?.throwIfAborted();
      this.#tellExhausted(error);
      throw this.#failure === undefined ? error : this.#ending(this.#failure.thrown, true);
    }
  }

  /** undefined: it failed, and another try is due. The lease is reported whatever fn does. */
  async attempt<T>(lease: Lease, fn: Call<T>): Promise<{ value: T } | undefined> {
    const { apiKey, keyId } = lease;
    const { signal, genai } = this.#settings;
    this.#apiKeys.push(apiKey);
    this.#tried.add(keyId);
    const watch = new RequestWatch();
    const startedAt = performance.now();
    const held = new HeldLease(this.#balancer, lease);
    const ending = await endingOf(() => fn(leasedGenAI(apiKey, genai, watch, signal)), watch, signal);
    // The provider's time begins with the first request; fn may have done other things before.
    const latencyMs = Math.round(performance.now() - (watch.startedAt ?? startedAt));
    const { outcome, error, geminis } = await callOutcome(ending, watch, { apiKey, signal });
    held.letGo();
    const usage = 'value' in ending ? tokenUsage(ending.value) : undefined;
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
    this.#tellReport(keyId, outcome, error, { latencyMs, usage }, sending, isWell);
    // Whoever left waits for nothing, nor does whoever got what he wanted.
    if ('aborted' in ending) throw ending.aborted;
    if (isWell) return ending;
    const response = await within(REPORT_WAIT_MS, sending);
    if ('value' in ending) return ending;
    if (!geminis) throw this.#ending(ending.thrown, false);
    this.#failure = ending;
    this.#attempts.push({ keyId, errorClass: nameOf(response?.errorClass), latencyMs });
    // A report that was sent twice, because its answer was lost, is answered without advice.
    await this.#follow(response?.retryAdvice ?? { ...UNADVISED, excludeKeyIds: [keyId] }, keyId);
    return undefined;
  }

  get #call(): Pick<ClientEvent, 'method' | 'model'> {
    return { method: 'executeWithRetry', model: this.#settings.model };
  }

  #tellExhausted(error: unknown): void {
    if (!(error instanceof KeyBalancerError)) return;
    const { reason, retryAfterMs } = error;
    this.#notify({ ...this.#call, type: 'exhausted', reason, retryAfterMs, attempts: this.#attempts.length });
  }

  /** Once the class is known, or at once where nobody waits for it. */
  #tellReport(
    keyId: string,
    outcome: Outcome,
    error: { httpStatus?: number } | undefined,
    { latencyMs, usage }: { latencyMs: number; usage: { inputTokens?: bigint; outputTokens?: bigint } | undefined },
    sending: Promise<ReportResultResponse | undefined>,
    isWell: boolean,
  ): void {
    const event = {
      ...this.#call,
      type: 'report' as const,
      keyId,
      outcome: OUTCOMES[outcome] ?? 'unused',
      httpStatus: error?.httpStatus ?? 0,
      latencyMs,
      inputTokens: Number(usage?.inputTokens ?? 0),
      outputTokens: Number(usage?.outputTokens ?? 0),
    };
    if (isWell || outcome === Outcome.UNUSED) this.#notify({ ...event, errorClass: '' });
    else void sending.then((response) => this.#notify({ ...event, errorClass: nameOf(response?.errorClass) }));
  }

  /** Prepares another try, or throws what ends the call. */
  async #follow({ retry, delay, excludeKeyIds, excludeProjects }: Advice, keyId: string): Promise<void> {
    const { maxRetries, retryDelay, signal } = this.#settings;
    const delayMs = delay === undefined ? 0 : durationMs(delay);
    const over = this.#attempts.length > maxRetries || signal?.aborted || delayMs > LONGEST_PAUSE_MS;
    if (!retry || over) throw this.#ending(this.#failure?.thrown, true);
    // A key to blame is left out and done with; trouble of the provider's comes again with each repeat.
    if (excludeKeyIds.length === 0 && this.#budget?.spend() === false) throw this.#ending(this.#failure?.thrown, true);
    const { errorClass } = this.#attempts[this.#attempts.length - 1]!;
    this.#notify({
      ...this.#call,
      type: 'retry',
      keyId,
      errorClass,
      delayMs,
      attempt: this.#attempts.length,
      search: false,
    });
    for (const keyId of excludeKeyIds) this.#badKeys.add(keyId);
    for (const project of excludeProjects) this.#badProjects.add(project);
    if (delayMs === 0) return;
    await sleep(Math.max(delayMs, retryDelay), undefined, { signal }).catch(() => signal?.throwIfAborted());
  }

  /**
   * A key that was not tried; where none is free, whichever becomes so. A key that was to blame is never tried again in the
   * same call, and one that was not only where there is no other.
   */
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
    const { pool, model, signal } = this.#settings;
    const request = {
      pool,
      model,
      excludeKeyIds: [...excluded].slice(-MOST_EXCLUDED),
      excludeProjects: [...this.#badProjects].slice(-MOST_EXCLUDED),
    };
    const giveBack = (coming: Promise<Lease>): void => this.#reports.giveBack(coming);
    return patientAcquire(this.#balancer, request, { left: this.#left, mayWait, signal, giveBack });
  }

  /** What to throw. `attempts` go with Gemini's errors only: those of fn are fn's. */
  #ending(thrown: unknown, geminis: boolean): unknown {
    const masked = maskKeys(thrown, this.#apiKeys);
    if (geminis) attachAttempts(masked, this.#attempts);
    return masked;
  }
}

type EndingOf<T> = Exclude<Ending, { value: unknown }> | { value: T };

/** Runs fn to its end, or until the signal: what becomes of fn then is nobody's matter. */
async function endingOf<T>(
  run: () => T | Promise<T>,
  watch: RequestWatch,
  signal: AbortSignal | undefined,
): Promise<EndingOf<T>> {
  if (signal?.aborted) return { aborted: signal.reason, open: false };
  let leave = (): void => {};
  const left = new Promise<EndingOf<T>>((resolve) => {
    leave = () => resolve({ aborted: signal?.reason, open: watch.open > 0 });
  });
  signal?.addEventListener('abort', leave, { once: true });
  const running = (async (): Promise<EndingOf<T>> => {
    try {
      return { value: await run() };
    } catch (thrown) {
      return { thrown };
    }
  })();
  try {
    return await Promise.race([running, left]);
  } finally {
    signal?.removeEventListener('abort', leave);
  }
}

/** undefined: it took longer. */
async function within(
  ms: number,
  sending: Promise<ReportResultResponse | undefined>,
): Promise<ReportResultResponse | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const patience = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, ms, undefined);
  });
  try {
    return await Promise.race([sending, patience]);
  } finally {
    clearTimeout(timer);
  }
}

const OUTCOMES: Partial<Record<Outcome, 'success' | 'failure' | 'unused'>> = {
  [Outcome.SUCCESS]: 'success',
  [Outcome.FAILURE]: 'failure',
  [Outcome.UNUSED]: 'unused',
};

function nameOf(errorClass: ErrorClass | undefined): string {
  return (errorClass && ErrorClassSchema.value[errorClass]?.localName) || 'UNKNOWN';
}

function isShortage(error: unknown): error is KeyBalancerError {
  return (
    error instanceof KeyBalancerError && (error.reason === 'NO_MATCHING_KEY' || error.reason === 'NO_KEY_AVAILABLE')
  );
}
