import { performance } from 'node:perf_hooks';
import { inspect } from 'node:util';
import { durationFromMs, durationMs } from '@bufbuild/protobuf/wkt';
import { describeThrown } from '../gemini/describe-thrown.ts';
import {
  type Lease,
  Outcome,
  type ReportResultResponse,
  type RetryAdvice,
} from '../gen/keybalancer/v1/keybalancer_pb.ts';
import type { Balancer } from './balancer.ts';
import { number, refuseUnknown } from './checks.ts';
import type { ClientEvent } from './events.ts';
import { classOf } from './genai/retries.ts';
import { HeldLease } from './held-lease.ts';
import type { Report, Reports } from './reports.ts';
import { within } from './within.ts';

/** How leases that were taken by hand are named in events. */
export const LEASE_METHOD = 'lease';

interface Told {
  usage?: NonNullable<Report['usage']>;
  error?: NonNullable<Report['error']>;
}

/** What became of a call, in numbers. */
export interface Usage {
  /** Tokens of the request: promptTokenCount. Default: 0, which says nothing. */
  inputTokens?: number | undefined;
  /** Tokens of the answer and of thoughts. */
  outputTokens?: number | undefined;
  /** Those of inputTokens that came from a cache. */
  cachedTokens?: number | undefined;
}

const USAGE = ['inputTokens', 'outputTokens', 'cachedTokens'];

/** How a failed call is judged, and what to do next. */
export interface Judgement {
  /**
   * ErrorClass name, such as "RATE_LIMITED_MINUTE"; "UNKNOWN", and no retry: the balancer could not be told within 10 s, or, where it is not
   * waited for (`away`), 2 s. The report is sent again behind the caller's back.
   */
  errorClass: string;
  /** Whether the same request may work with another key. */
  retry: boolean;
  /** Milliseconds to wait before. */
  delayMs: number;
  /** Keys to leave out then, for lease({ excludeKeyIds }). */
  excludeKeyIds: readonly string[];
  /** Projects to leave out then. */
  excludeProjects: readonly string[];
}

/**
 * A key that is leased for whatever calls Gemini in its own way. It renews itself until it is reported or disposed of, and is
 * reported once: by succeeded(), by failed(), or, when it is disposed of, as a success if its key was read and else as unused.
 */
export interface LeasedKey extends AsyncDisposable {
  /** The Gemini API key. Secret; not enumerable, so that no log shows it. */
  readonly apiKey: string;
  /** Names the key in events, stats and the command line. */
  readonly keyId: string;
  /** Google Cloud project of the key; "": unknown. */
  readonly project: string;
  /** Pool that it was leased from. */
  readonly pool: string;
  /** Gemini model that it was leased for; "": any. */
  readonly model: string;
  /** What the key is labelled with, by whoever added it. */
  readonly labels: Readonly<Record<string, string>>;
  /** The call did well. Later reports do nothing. */
  succeeded(usage?: Usage): Promise<void>;
  /**
   * What was thrown, or the answer: a Response of fetch, or its status and body as `{ status, body }`. The balancer judges it. A
   * mistake of the program, such as a TypeError, is none of the key's: it is reported as if the lease was just disposed of.
   */
  failed(error: unknown): Promise<Judgement>;
}

/** What a leased key stands on. */
export interface LeasedKeyContext {
  balancer: Balancer;
  reports: Reports;
  /** Longest wait for the answer to its report, in milliseconds. The report goes on after that. */
  reportWaitMs: number;
  notify: (event: ClientEvent) => void;
}

export function leasedKey(lease: Lease, context: LeasedKeyContext): LeasedKey {
  return new HeldKey(lease, context);
}

class HeldKey implements LeasedKey {
  readonly keyId: string;
  readonly project: string;
  readonly pool: string;
  readonly model: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly #lease: Lease;
  readonly #reports: Reports;
  readonly #reportWaitMs: number;
  readonly #notify: LeasedKeyContext['notify'];
  readonly #held: HeldLease;
  readonly #since = performance.now();
  #wasRead = false;
  #reported = false;

  constructor(lease: Lease, { balancer, reports, reportWaitMs, notify }: LeasedKeyContext) {
    this.keyId = lease.keyId;
    this.project = lease.project;
    this.pool = lease.pool;
    this.model = lease.model;
    this.labels = lease.labels;
    this.#lease = lease;
    this.#reports = reports;
    this.#reportWaitMs = reportWaitMs;
    this.#notify = notify;
    this.#held = new HeldLease(balancer, lease);
  }

  get apiKey(): string {
    this.#wasRead = true;
    return this.#lease.apiKey;
  }

  async succeeded(told: Usage = {}): Promise<void> {
    refuseUnknown(told, USAGE, 'usage');
    const { inputTokens = 0, outputTokens = 0, cachedTokens = 0 } = told;
    const usage = {
      inputTokens: tokens('inputTokens', inputTokens),
      outputTokens: tokens('outputTokens', outputTokens),
      cachedTokens: tokens('cachedTokens', cachedTokens),
    };
    await this.#report(Outcome.SUCCESS, { usage });
  }

  async failed(error: unknown): Promise<Judgement> {
    const { apiKey } = this.#lease;
    const thrown = error instanceof Response ? await answerOf(error) : error;
    const described = describeThrown(thrown, { apiKey });
    const isOwnMistake = described === undefined && OWN_MISTAKES.some((type) => thrown instanceof type);
    const response = isOwnMistake
      ? await this.#report(this.#outcomeUntold, {})
      : await this.#report(Outcome.FAILURE, { error: described ?? {} });
    const advice: Partial<RetryAdvice> = response?.retryAdvice ?? {};
    return {
      errorClass: classOf(response),
      retry: advice.retry ?? false,
      delayMs: advice.delay === undefined ? 0 : durationMs(advice.delay),
      excludeKeyIds: advice.excludeKeyIds ?? [],
      excludeProjects: advice.excludeProjects ?? [],
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#report(this.#outcomeUntold, {});
  }

  [inspect.custom](): string {
    return `LeasedKey ${this.keyId}`;
  }

  get #outcomeUntold(): Outcome {
    return this.#wasRead ? Outcome.SUCCESS : Outcome.UNUSED;
  }

  async #report(outcome: Outcome, told: Told): Promise<ReportResultResponse | undefined> {
    if (this.#reported) return undefined;
    this.#reported = true;
    this.#held.letGo();
    const latencyMs = Math.round(performance.now() - this.#since);
    const sending = this.#reports.send(
      { ...told, leaseId: this.#lease.leaseId, outcome, latency: durationFromMs(latencyMs) },
      this.keyId,
    );
    const response = await within(this.#reportWaitMs, sending);
    this.#notify({
      type: 'report',
      method: LEASE_METHOD,
      model: this.model,
      keyId: this.keyId,
      outcome: outcome === Outcome.SUCCESS ? 'success' : outcome === Outcome.FAILURE ? 'failure' : 'unused',
      errorClass: outcome === Outcome.FAILURE ? classOf(response) : '',
      httpStatus: told.error?.httpStatus ?? 0,
      latencyMs,
      inputTokens: Number(told.usage?.inputTokens ?? 0),
      outputTokens: Number(told.usage?.outputTokens ?? 0),
    });
    return response;
  }
}

/** Longest reading of an error's body. */
const BODY_MS = 1_000;
/** Of the program's, which say nothing of a key. */
const OWN_MISTAKES = [TypeError, ReferenceError, RangeError];

async function answerOf(response: Response): Promise<{ status: number; body: string }> {
  const reading = response.bodyUsed ? Promise.resolve('') : response.text().catch(() => '');
  return { status: response.status, body: (await within(BODY_MS, reading)) || response.statusText || 'no body' };
}

function tokens(name: string, value: number): bigint {
  return BigInt(Math.round(number(name, value, 0, Number.MAX_SAFE_INTEGER)));
}
