import { inspect } from 'node:util';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import { describeThrown } from '../gemini/describe-thrown.ts';
import { ErrorClassSchema, type Lease, Outcome, type RetryAdvice } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import type { Balancer } from './balancer.ts';
import { HeldLease } from './held-lease.ts';
import type { Report, Reports } from './reports.ts';

interface Told {
  usage?: NonNullable<Report['usage']>;
  error?: NonNullable<Report['error']>;
}

/** What became of a call, in numbers. */
export interface Usage {
  inputTokens?: number;
  outputTokens?: number;
  cachedTokens?: number;
}

/** How a failed call is judged, and what to do next. */
export interface Judgement {
  /** ErrorClass name, such as "RATE_LIMITED_MINUTE"; "UNKNOWN": the balancer could not be told in time. */
  errorClass: string;
  /** Whether the same request may work with another key. */
  retry: boolean;
  /** Milliseconds to wait before. */
  delayMs: number;
  excludeKeyIds: readonly string[];
  excludeProjects: readonly string[];
}

/**
 * A key that is leased for whatever calls Gemini in its own way. It renews itself until it is reported or disposed of, and is
 * reported once: by succeeded(), by failed(), or, when it is disposed of, as a success if its key was read and else as unused.
 */
export interface LeasedKey extends AsyncDisposable {
  /** The Gemini API key. Secret; not enumerable, so that no log shows it. */
  readonly apiKey: string;
  readonly keyId: string;
  /** "": unknown. */
  readonly project: string;
  readonly pool: string;
  readonly model: string;
  readonly labels: Readonly<Record<string, string>>;
  /** The call did well. */
  succeeded(usage?: Usage): Promise<void>;
  /** What was thrown, or the answer's status and body as `{ status, body }`: the balancer judges it. */
  failed(error: unknown): Promise<Judgement>;
}

export function leasedKey(balancer: Balancer, lease: Lease, reports: Reports): LeasedKey {
  return new HeldKey(balancer, lease, reports);
}

class HeldKey implements LeasedKey {
  readonly keyId: string;
  readonly project: string;
  readonly pool: string;
  readonly model: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly #lease: Lease;
  readonly #reports: Reports;
  readonly #held: HeldLease;
  readonly #since = performance.now();
  #wasRead = false;
  #reported = false;

  constructor(balancer: Balancer, lease: Lease, reports: Reports) {
    this.keyId = lease.keyId;
    this.project = lease.project;
    this.pool = lease.pool;
    this.model = lease.model;
    this.labels = lease.labels;
    this.#lease = lease;
    this.#reports = reports;
    this.#held = new HeldLease(balancer, lease);
  }

  get apiKey(): string {
    this.#wasRead = true;
    return this.#lease.apiKey;
  }

  async succeeded({ inputTokens = 0, outputTokens = 0, cachedTokens = 0 }: Usage = {}): Promise<void> {
    await this.#report(Outcome.SUCCESS, {
      usage: {
        inputTokens: BigInt(Math.max(0, Math.round(inputTokens))),
        outputTokens: BigInt(Math.max(0, Math.round(outputTokens))),
        cachedTokens: BigInt(Math.max(0, Math.round(cachedTokens))),
      },
    });
  }

  async failed(error: unknown): Promise<Judgement> {
    const { apiKey } = this.#lease;
    const described = describeThrown(error, { apiKey }) ?? {};
    const response = await this.#report(Outcome.FAILURE, { error: described });
    const advice: Partial<RetryAdvice> = response?.retryAdvice ?? {};
    return {
      errorClass: (response && ErrorClassSchema.value[response.errorClass]?.localName) || 'UNKNOWN',
      retry: advice.retry ?? false,
      delayMs: advice.delay === undefined ? 0 : Number(advice.delay.seconds) * 1000 + advice.delay.nanos / 1e6,
      excludeKeyIds: advice.excludeKeyIds ?? [],
      excludeProjects: advice.excludeProjects ?? [],
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#report(this.#wasRead ? Outcome.SUCCESS : Outcome.UNUSED, {});
  }

  [inspect.custom](): string {
    return `LeasedKey ${this.keyId}`;
  }

  async #report(outcome: Outcome, told: Told) {
    if (this.#reported) return undefined;
    this.#reported = true;
    this.#held.letGo();
    const latency = durationFromMs(Math.round(performance.now() - this.#since));
    return this.#reports.send({ ...told, leaseId: this.#lease.leaseId, outcome, latency }, this.keyId);
  }
}
