import { setTimeout as sleep } from 'node:timers/promises';
import { durationFromMs, durationMs } from '@bufbuild/protobuf/wkt';
import type { GoogleGenAI } from '@google/genai';
import { type ErrorClass, ErrorClassSchema, type RetryAdvice } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import { type Attempt, attachAttempts } from './attempts.ts';
import type { Balancer } from './balancer.ts';
import { callOutcome, type Ending } from './call-outcome.ts';
import { KeyBalancerError } from './errors.ts';
import { HeldLease } from './held-lease.ts';
import { type GenAIOptions, leasedGenAI } from './leased-genai.ts';
import { maskKeys } from './mask-keys.ts';
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
  genai: GenAIOptions;
}

type Advice = Pick<RetryAdvice, 'retry' | 'delay' | 'excludeKeyIds' | 'excludeProjects'>;

/** Where the balancer could not advise: another key may help, and the next report brings advice. */
const UNADVISED: Advice = { retry: true, excludeKeyIds: [], excludeProjects: [] };
/** The most that an acquire takes. */
const MOST_EXCLUDED = 64;
/** Who is told to come back later than this is better told so than kept. */
const LONGEST_PAUSE_MS = 30_000;

/**
 * One call, in as many tries as it takes and may take: lease a key, run fn with it, report. A try that failed by Gemini's
 * doing is repeated as the balancer advises, each with another key; what fn did wrong itself is thrown at once. The error
 * that ends the call is the last one of Gemini's, with `attempts` on it.
 */
export async function leasedCall<T>(
  balancer: Balancer,
  settings: CallSettings,
  fn: (ai: GoogleGenAI) => T | Promise<T>,
): Promise<T> {
  const call = new LeasedCall(balancer, settings);
  for (;;) {
    const lease = await call.nextLease();
    const value = await call.attempt(lease, fn);
    if (value !== undefined) return value.value;
  }
}

class LeasedCall {
  readonly #balancer: Balancer;
  readonly #settings: CallSettings;
  readonly #attempts: Attempt[] = [];
  /** For masking what is thrown. */
  readonly #apiKeys: string[] = [];
  readonly #tried = new Set<string>();
  /** What the balancer advised to leave out. */
  readonly #badKeys = new Set<string>();
  readonly #badProjects = new Set<string>();
  /** Gemini's last error. */
  #failure: { thrown: unknown } | undefined;
  #waitLeft: number;

  constructor(balancer: Balancer, settings: CallSettings) {
    this.#balancer = balancer;
    this.#settings = settings;
    this.#waitLeft = settings.maxWait ?? settings.maxRetries * settings.retryDelay;
  }

  async nextLease(): Promise<HeldLease> {
    this.#settings.signal?.throwIfAborted();
    try {
      // A key that was tried may be tried again only if it was not to blame, and there is no other.
      const reusable = [...this.#tried].some((keyId) => !this.#badKeys.has(keyId));
      if (!reusable) return await this.#acquire(this.#badKeys, this.#waitLeft);
      try {
        return await this.#acquire(new Set([...this.#badKeys, ...this.#tried]), 0);
      } catch (error) {
        if (!isShortage(error)) throw error;
        return await this.#acquire(this.#badKeys, this.#waitLeft);
      }
    } catch (error) {
      this.#settings.signal?.throwIfAborted();
      throw this.#failure === undefined ? error : this.#ending(this.#failure.thrown, true);
    }
  }

  /** undefined: it failed, and another try is due. */
  async attempt<T>(held: HeldLease, fn: (ai: GoogleGenAI) => T | Promise<T>): Promise<{ value: T } | undefined> {
    const { apiKey, keyId } = held.lease;
    const { signal, genai } = this.#settings;
    this.#apiKeys.push(apiKey);
    this.#tried.add(keyId);
    const watch = new RequestWatch();
    const startedAt = performance.now();
    let ending: { value: T } | { thrown: unknown };
    try {
      ending = { value: await fn(leasedGenAI(apiKey, genai, watch, signal)) };
    } catch (thrown) {
      ending = { thrown };
    }
    // The provider's time begins with the first request; fn may have done other things before.
    const latencyMs = performance.now() - (watch.startedAt ?? startedAt);
    const { outcome, error, geminis } = await callOutcome(ending, watch, { apiKey, signal });
    const response = await held.report({
      outcome,
      ...(error === undefined ? {} : { error }),
      ...usageOf(ending),
      latency: durationFromMs(Math.round(latencyMs)),
    });
    if ('value' in ending) return ending;
    if (!geminis) throw this.#ending(ending.thrown, false);
    this.#failure = ending;
    const errorClass = nameOf(response?.errorClass);
    this.#attempts.push({ keyId, errorClass, latencyMs: Math.round(latencyMs) });
    // A report that was sent twice, because its answer was lost, is answered without advice.
    await this.#follow(response?.retryAdvice ?? { ...UNADVISED, excludeKeyIds: [keyId] });
    return undefined;
  }

  /** Prepares another try, or throws what ends the call. */
  async #follow({ retry, delay, excludeKeyIds, excludeProjects }: Advice): Promise<void> {
    const { maxRetries, retryDelay, signal } = this.#settings;
    const delayMs = delay === undefined ? 0 : durationMs(delay);
    const over = this.#attempts.length > maxRetries || signal?.aborted || delayMs > LONGEST_PAUSE_MS;
    if (!retry || over) throw this.#ending(this.#failure?.thrown, true);
    for (const keyId of excludeKeyIds) this.#badKeys.add(keyId);
    for (const project of excludeProjects) this.#badProjects.add(project);
    if (delayMs === 0) return;
    await sleep(Math.max(delayMs, retryDelay), undefined, { signal }).catch(() => signal?.throwIfAborted());
  }

  async #acquire(excluded: ReadonlySet<string>, maxWaitMs: number): Promise<HeldLease> {
    const { pool, model, signal } = this.#settings;
    const startedAt = performance.now();
    try {
      return await HeldLease.acquire(
        this.#balancer,
        {
          pool,
          model,
          maxWait: durationFromMs(Math.round(maxWaitMs)),
          excludeKeyIds: [...excluded].slice(-MOST_EXCLUDED),
          excludeProjects: [...this.#badProjects].slice(-MOST_EXCLUDED),
        },
        signal,
      );
    } finally {
      if (maxWaitMs > 0) this.#waitLeft = Math.max(0, maxWaitMs - (performance.now() - startedAt));
    }
  }

  /** What to throw. `attempts` go with Gemini's errors only: those of fn are fn's. */
  #ending(thrown: unknown, geminis: boolean): unknown {
    const masked = maskKeys(thrown, this.#apiKeys);
    if (geminis) attachAttempts(masked, this.#attempts);
    return masked;
  }
}

function usageOf(ending: Ending): { usage?: NonNullable<ReturnType<typeof tokenUsage>> } {
  const usage = 'value' in ending ? tokenUsage(ending.value) : undefined;
  return usage === undefined ? {} : { usage };
}

function nameOf(errorClass: ErrorClass | undefined): string {
  return (errorClass && ErrorClassSchema.value[errorClass]?.localName) || 'UNKNOWN';
}

function isShortage(error: unknown): boolean {
  return (
    error instanceof KeyBalancerError && (error.reason === 'NO_MATCHING_KEY' || error.reason === 'NO_KEY_AVAILABLE')
  );
}
