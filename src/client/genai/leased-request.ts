import { performance } from 'node:perf_hooks';
import type { Lease, ReportResultResponse } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import { attachAttempts } from '../attempts.ts';
import type { Balancer } from '../balancer.ts';
import { KeyBalancerError } from '../errors.ts';
import { NoResponseError } from '../fetch-of.ts';
import { HeldLease } from '../held-lease.ts';
import { maskKeys } from '../mask-keys.ts';
import type { Reports } from '../reports.ts';
import { unlessAborted } from '../unless-aborted.ts';
import type { Answer, AnswerEnd } from './answer.ts';
import { answerTo, shownEnd } from './answer-to.ts';
import { callScope } from './call-scope.ts';
import type { GenAIContext } from './context.ts';
import { errorBody } from './error-body.ts';
import { learnedNames } from './learned-names.ts';
import { LeaseSearch } from './lease-search.ts';
import type { Outgoing } from './outgoing.ts';
import { type RequestFacts, requestFacts } from './request-facts.ts';
import { isElsewhere, ResourceSearch } from './resource-search.ts';
import { classOf, type Notify, Retries } from './retries.ts';
import { errorOf } from './try-outcome.ts';
import { type TryFigures, TryReports } from './try-reports.ts';

type Fetch = typeof globalThis.fetch;
type Failure = Exclude<AnswerEnd, { by: 'whole' | 'left' }>;
/** What the SDK is given when nothing more is tried. */
type Ending = { response: Response; error?: unknown } | { thrown: unknown };

/** One HTTP request of the SDK, in as many tries as it takes and may take. */
export class LeasedRequest {
  readonly #context: GenAIContext;
  readonly #balancer: Balancer;
  readonly #tryReports: TryReports;
  readonly #request: Outgoing;
  readonly #facts: RequestFacts;
  readonly #inner: Fetch;
  readonly #leases: LeaseSearch;
  readonly #retries: Retries;
  readonly #resources: ResourceSearch;
  /** For masking what is thrown. */
  readonly #apiKeys: string[] = [];
  readonly #scope = callScope();
  readonly #startedAt = performance.now();
  /** Seconds that the SDK gives the request, rounded up by it. */
  readonly #timeoutS: number;
  /** Gemini's last word, for when no other key is to be had. */
  #ending: Ending | undefined;

  constructor(
    context: GenAIContext,
    { balancer, reports }: { balancer: Balancer; reports: Reports },
    request: Outgoing,
    inner: Fetch,
  ) {
    this.#context = context;
    this.#balancer = balancer;
    this.#tryReports = new TryReports(reports, (event) => this.#notify(event));
    this.#request = request;
    this.#inner = inner;
    this.#facts = requestFacts(request.url, request.method, request.headers.get('accept') ?? '', request.text);
    this.#timeoutS = Number(request.headers.get('x-server-timeout') ?? Number.POSITIVE_INFINITY);
    const { pool, maxWait, maxRetries, retryDelay } = context.settings;
    const patience = {
      waitMs: maxWait ?? maxRetries * retryDelay,
      endsAt: this.#startedAt + this.#timeoutS * 1000,
      signal: request.signal,
    };
    this.#leases = new LeaseSearch(
      balancer,
      {
        pool,
        model: this.#facts.model,
        estimatedTokens: BigInt(this.#facts.estimatedTokens),
        affinityKey: this.#scope?.affinityKey || context.settings.affinityKey || '',
      },
      patience,
    );
    this.#retries = new Retries(context, this.#leases, patience, (event) => this.#notify(event));
    this.#resources = new ResourceSearch(context.origins, this.#leases, this.#retries);
    this.#resources.bind(this.#facts.resources);
  }

  async response(): Promise<Response> {
    try {
      for (;;) {
        const lease = await this.#lease();
        if (lease === undefined) return this.#end();
        const response = await this.#try(lease);
        if (response !== undefined) return response;
      }
    } catch (error) {
      this.#tellScope();
      throw error;
    }
  }

  /** undefined: none is to be had, and Gemini's last word stands. */
  async #lease(): Promise<Lease | undefined> {
    const { signal } = this.#request;
    const startedAt = performance.now();
    for (;;) {
      try {
        const lease = await this.#leases.next();
        const { keyId, project } = lease;
        const waitedMs = performance.now() - startedAt;
        this.#notify({ type: 'lease', keyId, project, waitedMs, attempt: this.#retries.attempts.length });
        return lease;
      } catch (error) {
        signal?.throwIfAborted();
        if (!(error instanceof KeyBalancerError)) throw error;
        const { reason, retryAfterMs } = error;
        if (reason === 'NO_MATCHING_KEY' && this.#resources.unbind()) continue;
        this.#notify({ type: 'exhausted', reason, retryAfterMs, attempts: this.#retries.attempts.length });
        if (this.#ending === undefined) throw error;
        return undefined;
      }
    }
  }

  /** What the SDK is given; undefined: another try follows. */
  async #try(lease: Lease): Promise<Response | undefined> {
    const { apiKey } = lease;
    this.#apiKeys.push(apiKey);
    this.#dropEnding();
    const held = new HeldLease(this.#balancer, lease);
    const startedAt = performance.now();
    let response: Response;
    try {
      response = await this.#request.send(this.#inner, apiKey);
    } catch (error) {
      held.letGo();
      const latencyMs = performance.now() - startedAt;
      const mayRepeat = !(error instanceof NoResponseError);
      return this.#failed(lease, { by: 'silence', error }, { status: 0, latencyMs }, { thrown: error }, mayRepeat);
    }
    const headersMs = performance.now() - startedAt;
    const { status } = response;
    if (!response.ok) {
      const { text, ending } = await errorBody(response, apiKey);
      held.letGo();
      const latencyMs = performance.now() - startedAt;
      return this.#failed(lease, { by: 'error', body: text }, { status, latencyMs }, { response: ending });
    }
    if (!(response instanceof Response)) {
      // An own fetch with responses of its own: what becomes of the body is not seen.
      held.letGo();
      this.#succeeded(lease, { status, latencyMs: headersMs });
      return response;
    }
    const answer = answerTo(this.#facts, response, apiKey);
    const end = await answer.begin();
    if (end === undefined) {
      return answer.handOn(
        (final) => {
          held.letGo();
          return this.#over(lease, response, answer, final, headersMs + answer.readMs);
        },
        (final) => this.#shown(final, apiKey),
      );
    }
    held.letGo();
    const latencyMs = headersMs + answer.readMs;
    if (end.by === 'whole' || end.by === 'left') {
      void this.#over(lease, response, answer, end, latencyMs);
      return answer.whole();
    }
    if (this.#facts.creates && end.by !== 'error') {
      const error = this.#shown(end, apiKey);
      return this.#failed(lease, { by: 'silence', error }, { status, latencyMs }, { thrown: error }, false);
    }
    return this.#failed(lease, end, { status, latencyMs }, this.#endingOf(end, answer, apiKey));
  }

  /** What the SDK would be given for an answer that failed as it began. */
  #endingOf(end: Failure, answer: Answer, apiKey: string): Ending {
    if (end.by === 'nonsense') return { response: answer.whole() };
    if (end.by === 'error' && this.#facts.answer !== 'generated-events') {
      // The SDK hands such events to its caller.
      return {
        response: answer.handOn(
          () => {},
          (final) => this.#shown(final, apiKey),
        ),
      };
    }
    const error = this.#shown(end, apiKey);
    return { response: answer.failing(error), error };
  }

  /** What the reader of a stream gets to see of its end. */
  #shown(end: AnswerEnd, apiKey: string): unknown {
    const aborted = this.#request.signal?.aborted ?? false;
    const masked = maskKeys(shownEnd(end, this.#facts, { apiKey, aborted }), this.#apiKeys);
    if (this.#retries.attempts.length > 0) attachAttempts(masked, this.#retries.attempts);
    return masked;
  }

  /** An answer that began well is over. Its reader waits only for the report of one that failed, whose class its error has. */
  async #over(lease: Lease, response: Response, answer: Answer, end: AnswerEnd, latencyMs: number): Promise<void> {
    this.#context.origins.remember(learnedNames(this.#facts, response.headers, answer.start), lease);
    const figures = { status: response.status, latencyMs, usage: answer.usage() };
    if (end.by === 'whole' || end.by === 'left') this.#succeeded(lease, figures);
    else await this.#tried(lease, end, figures);
  }

  #succeeded(lease: Lease, figures: TryFigures): void {
    this.#context.spend?.earn();
    this.#tryReports.succeeded(lease, figures);
  }

  /** Reports a try that failed, and notes it. The balancer's answer; undefined: whoever left waits for none. */
  async #tried(lease: Lease, failure: Failure, figures: TryFigures): Promise<ReportResultResponse | undefined> {
    const { apiKey, keyId } = lease;
    const { signal } = this.#request;
    const cancelled = this.#wasCancelled();
    const error = errorOf(failure, { apiKey, status: figures.status, cancelled });
    const reporting = this.#tryReports.failed(lease, error, figures);
    const told = await unlessAborted(reporting, signal).catch(() => undefined);
    const isAbort = signal?.aborted && failure.by === 'silence';
    const errorClass = told === undefined && isAbort ? (cancelled ? 'CANCELLED' : 'TIMEOUT') : classOf(told);
    this.#retries.attempts.push({ keyId, errorClass, latencyMs: Math.round(figures.latencyMs) });
    return told;
  }

  /** Reports a try that failed before the SDK had anything of it. undefined: another follows. */
  async #failed(
    lease: Lease,
    failure: Failure,
    figures: TryFigures,
    ending: Ending,
    mayRepeat = true,
  ): Promise<Response | undefined> {
    this.#ending = ending;
    const told = await this.#tried(lease, failure, figures);
    if (!mayRepeat || !this.#request.replayable || this.#request.signal?.aborted) return this.#end();
    const { status } = figures;
    const failed = { ...this.#facts, status, body: failure.by === 'error' ? failure.body : '' };
    const again = isElsewhere(classOf(told), failed)
      ? this.#resources.follow(lease, this.#facts.resources, told)
      : await this.#retries.follow(told, lease.keyId, status);
    return again ? undefined : this.#end();
  }

  /** Another try has the last word. A body that nobody will read must not keep its connection. */
  #dropEnding(): void {
    const ending = this.#ending;
    this.#ending = undefined;
    if (ending !== undefined && 'response' in ending) void ending.response.body?.cancel().catch(() => undefined);
  }

  /** Gives the SDK Gemini's last word. */
  async #end(): Promise<Response> {
    this.#tellScope();
    const ending = this.#ending!;
    if ('response' in ending) {
      attachAttempts(ending.error, this.#retries.attempts);
      return ending.response;
    }
    const masked = maskKeys(ending.thrown, this.#apiKeys);
    if (this.#retries.attempts.length > 0) attachAttempts(masked, this.#retries.attempts);
    throw masked;
  }

  #tellScope(): void {
    if (this.#scope !== undefined) this.#scope.attempts = this.#retries.attempts;
  }

  /** The SDK aborts alike for its caller and for its own time limit; only the time that passed tells them apart. */
  #wasCancelled(): boolean {
    const { signal } = this.#request;
    if (signal === undefined || !signal.aborted) return false;
    if ((signal.reason as { name?: unknown } | undefined)?.name === 'TimeoutError') return false;
    return performance.now() - this.#startedAt < (this.#timeoutS - 1) * 1000;
  }

  #notify(event: Parameters<Notify>[0]): void {
    const { method, model } = this.#facts;
    try {
      this.#context.notify({ ...event, method, model });
    } catch {
      // A listener's mistake is no reason to fail a call.
    }
  }
}
