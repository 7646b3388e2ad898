import { durationFromMs } from '@bufbuild/protobuf/wkt';
import type { GoogleGenAI } from '@google/genai';
import {
  type GetStatsResponse,
  KeyReuse,
  type Lease,
  type MemoryStats,
  type WatchHealthResponse,
} from '../gen/keybalancer/v1/keybalancer_pb.ts';
import { FALLBACK_KEY_ID } from './away-policy.ts';
import { shownType, whole } from './checks.ts';
import { ClientConnection, type Connected } from './client-connection.ts';
import { ClientEvents, type ClientEventType, type ListenerOf } from './client-events.ts';
import { type Place, placeOf } from './config.ts';
import { closedError, invalidOption, KeyBalancerError } from './errors.ts';
import type { ClientEvent } from './events.ts';
import type { RetryBudget } from './genai/context.ts';
import { createLeasedGenAI } from './genai/leased-client.ts';
import { ResourceOrigins } from './genai/resource-origins.ts';
import { within } from './genai/retries.ts';
import { type ImportOptions, type ImportSummary, importKeyFile } from './key-file.ts';
import { type BatchOptions, checkedBatches, checkedLease, type LeaseOptions } from './lease-options.ts';
import { leasedCall, timed } from './leased-call.ts';
import type { GenAIOptions } from './leased-genai.ts';
import { LEASE_METHOD, type LeasedKey, leasedKey } from './leased-key.ts';
import {
  type ClientSettings,
  checkedRetryOptions,
  checkGenAI,
  checkNewKey,
  clientSettings,
  type KeyBalancerOptions,
  type RetryOptions,
  retrySettings,
} from './options.ts';
import { patientAcquire } from './patient-acquire.ts';
import type { Reports } from './reports.ts';
import { createRetryBudget } from './retry-budget.ts';
import { createTelemetry } from './telemetry.ts';
import { type WatchOptions, watchHealth } from './watch.ts';

/**
 * A function that calls Gemini: gets a real GoogleGenAI that has the lease's key, and may be run several times. It reads
 * streams to their end itself, since the lease ends with it.
 */
export type GeminiFunction<A extends unknown[], T> = (ai: GoogleGenAI, ...args: A) => T | Promise<T>;

/** Calls of Gemini with leased keys. One for a process is enough. */
export interface KeyBalancer extends AsyncDisposable {
  /**
   * A real GoogleGenAI, to be used as ever and for as long as one likes: each of its requests is made with a leased key, reported,
   * and tried again with another while that helps. Options are the SDK's own, without apiKey.
   */
  genai(options?: GenAIOptions): GoogleGenAI;
  /**
   * Runs fn with a leased key, and again with others while Gemini's failures say that it helps. Every lease is reported.
   * Rejects with Gemini's own error, `attempts` on it; with what fn threw of its own, what its other clients met included;
   * with the signal's reason; or with a KeyBalancerError when no key could be had.
   */
  executeWithRetry<A extends unknown[], T>(fn: GeminiFunction<A, T>, ...args: A): Promise<T>;
  /** The function that does so each time it is called. */
  withRetry<A extends unknown[], T>(fn: GeminiFunction<A, T>, options?: RetryOptions): (...args: A) => Promise<T>;
  /** A key for whatever calls Gemini in its own way: `await using key = await balancer.lease()`. */
  lease(options?: LeaseOptions): Promise<LeasedKey>;
  /** Keys for several batches, all or none; a key may be in several. */
  leaseBatches(sizes: readonly number[], options?: BatchOptions): Promise<LeasedKey[][]>;
  /** Changes of health as they come. It goes on by itself after a restart of the server; `snapshot.reset` says when to begin anew. */
  watchHealth(options?: WatchOptions): AsyncIterable<WatchHealthResponse>;
  /**
   * Tells of leases, retries, reports and calls that got no key. Returns the way to stop it. What the listener throws is an uncaught
   * error of the process, and harms no call.
   */
  on<T extends ClientEventType>(type: T, listener: ListenerOf<T>): () => void;
  /** Adds a key to the pool. False: it is there already, and stays as it is. */
  addKey(apiKey: string, weight?: number, source?: string): Promise<boolean>;
  /** Adds the keys of a file: a line each, KEY or KEY:WEIGHT; blank lines and those that begin with # are skipped. */
  importKeysFromFile(
    path: string,
    source?: string,
    options?: Omit<ImportOptions, 'pool' | 'source'>,
  ): Promise<ImportSummary>;
  /** Counters and gauges of the pool, reports of this client included, and the health of its first 1,000 keys. */
  getStats(): Promise<GetStatsResponse>;
  /** What the balancer's keys hold in memory. */
  getMemoryUsage(): Promise<MemoryStats>;
  /**
   * Sets how many decrypted keys to keep, where this process opens the data dir; to be called before the first call. Hardly needed: by
   * itself it keeps all, to 100,000. Later, and with a server, which sizes its own, it changes nothing and warns of that.
   */
  optimizeForLargeKeysets(keys: number): void;
  /** Calls that the fallback key served while the balancer was away. */
  readonly servedByFallback: number;
  /**
   * Waits for the calls that run, streams that are read and live sessions included, and for reports on their way, 10 s at most, and
   * lets go. Calls made later reject. Keys of lease() are to be disposed of before.
   */
  close(): Promise<void>;
}

/** Longest wait of getStats() for reports on their way. */
const SETTLE_MS = 2_000;
const MOST_CACHED = 10_000_000;

/** Connects, or opens the data dir, with the first call. Throws when an option is not right. */
export function createKeyBalancer(options: KeyBalancerOptions = {}): KeyBalancer {
  return new Client(options);
}

class Client implements KeyBalancer {
  readonly #place: Place;
  readonly #settings: ClientSettings;
  readonly #connection: ClientConnection;
  readonly #events = new ClientEvents();
  readonly #budget: RetryBudget;
  readonly #telemetry = createTelemetry();
  readonly #origins = new ResourceOrigins();
  #served = 0;

  constructor(options: KeyBalancerOptions) {
    this.#settings = clientSettings(options);
    this.#place = placeOf(options);
    this.#budget = createRetryBudget(this.#settings.retryBudget);
    this.#connection = new ClientConnection(this.#place, this.#settings, () => this.#servedOne());
  }

  get servedByFallback(): number {
    return this.#served;
  }

  genai(options: GenAIOptions = {}): GoogleGenAI {
    if (this.#connection.ended.aborted) throw closedError('this KeyBalancer');
    checkGenAI(options);
    const { call, maxProjects } = this.#settings;
    const { pool, maxRetries, retryDelay, maxWait } = call;
    const settings = { pool, maxRetries, retryDelay, maxWait, ...(maxProjects !== undefined && { maxProjects }) };
    const connection = this.#connection;
    const context = {
      connected: async () => {
        const { forCalls, reports } = await connection.use();
        return { balancer: forCalls, reports };
      },
      running: (request: Promise<unknown>) => void connection.track(request).catch(() => {}),
      settings,
      origins: this.#origins,
      notify: this.#notify,
      spend: this.#budget,
    };
    const httpOptions = { ...call.genai.httpOptions, ...options.httpOptions };
    return createLeasedGenAI(context, { ...call.genai, ...options, httpOptions });
  }

  executeWithRetry<A extends unknown[], T>(fn: GeminiFunction<A, T>, ...args: A): Promise<T> {
    return this.#call(this.#settings.call, fn, args);
  }

  withRetry<A extends unknown[], T>(fn: GeminiFunction<A, T>, options: RetryOptions = {}): (...args: A) => Promise<T> {
    const settings = retrySettings(this.#settings.call, checkedRetryOptions(options));
    return (...args) => this.#call(settings, fn, args);
  }

  async lease(options: LeaseOptions = {}): Promise<LeasedKey> {
    const { request, waitMs, signal } = checkedLease(options, this.#settings.call);
    const { model } = request;
    return this.#taking(
      model,
      async ({ balancer, reports }) => {
        const { pool } = this.#settings.call;
        const giveBack = (coming: Parameters<Reports['giveBack']>[0]): void => reports.giveBack(coming);
        const context = { left: { waitMs }, mayWait: waitMs > 0, signal, giveBack };
        return patientAcquire(balancer, { pool, ...request }, context);
      },
      (lease, held) => held(lease),
      signal,
    );
  }

  async leaseBatches(sizes: readonly number[], options: BatchOptions = {}): Promise<LeasedKey[][]> {
    const { model, batchSizes, waitMs } = checkedBatches(sizes, options, this.#settings.call);
    return this.#taking(
      model,
      ({ balancer }) =>
        balancer.keyBalancer.batchGetKeys({
          pool: this.#settings.call.pool,
          model,
          batchSizes,
          keyReuse: KeyReuse.UNIQUE_IN_BATCH,
          ...(waitMs > 0 && { maxWait: durationFromMs(Math.round(waitMs)) }),
        }),
      ({ batches }, held) => batches.map(({ leases }) => leases.map(held)),
    );
  }

  watchHealth(options: WatchOptions = {}): AsyncIterable<WatchHealthResponse> {
    const { ended } = this.#connection;
    return watchHealth(() => this.#connection.use(), { pool: this.#settings.call.pool, ended }, options);
  }

  on<T extends ClientEventType>(type: T, listener: ListenerOf<T>): () => void {
    return this.#events.on(type, listener);
  }

  addKey(apiKey: string, weight = 1, source = 'manual'): Promise<boolean> {
    const { pool } = this.#settings.call;
    return this.#connection.run(async ({ balancer }) => {
      checkNewKey({ apiKey, weight, source });
      try {
        await balancer.keyAdmin.createKey({ apiKey, key: { pool, weight, source } });
        return true;
      } catch (error) {
        if (error instanceof KeyBalancerError && error.reason === 'KEY_ALREADY_EXISTS') return false;
        throw error;
      }
    });
  }

  importKeysFromFile(
    path: string,
    source = 'imported',
    options: Omit<ImportOptions, 'pool' | 'source'> = {},
  ): Promise<ImportSummary> {
    const { pool } = this.#settings.call;
    return this.#connection.run(({ balancer }) => importKeyFile(balancer, path, { ...options, pool, source }));
  }

  getStats(): Promise<GetStatsResponse> {
    const { pool } = this.#settings.call;
    return this.#connection.run(async ({ balancer, reports }) => {
      await within(SETTLE_MS, reports.settled());
      const pools = [pool || 'default'];
      return balancer.keyBalancer.getStats({ pools, includeKeys: true, includeModels: true });
    });
  }

  async getMemoryUsage(): Promise<MemoryStats> {
    const { server } = await this.getStats();
    if (server?.memory === undefined) {
      throw new KeyBalancerError('the balancer does not tell its memory', { code: 'UNIMPLEMENTED' });
    }
    return server.memory;
  }

  optimizeForLargeKeysets(keys: number): void {
    if (this.#connection.ended.aborted) throw closedError('this KeyBalancer');
    const size = whole('keys', keys, 1, MOST_CACHED);
    const isServers = 'address' in this.#place;
    if (!isServers && !this.#connection.isBegun) {
      this.#connection.cacheSize = size;
      return;
    }
    const why = isServers ? 'a server sizes its cache itself' : 'the data dir is open, and its cache grows by itself';
    process.emitWarning(`optimizeForLargeKeysets() changed nothing: ${why}`, 'KeyBalancerWarning');
  }

  close(): Promise<void> {
    return this.#connection.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Neither a listener's mistake nor that of an exporter of telemetry is a reason to fail a call. */
  #notify = (event: ClientEvent): void => {
    try {
      this.#telemetry(event);
    } catch (error) {
      queueMicrotask(() => {
        throw error;
      });
    }
    this.#events.emit(event);
  };

  async #call<A extends unknown[], T>(settings: ClientSettings['call'], fn: GeminiFunction<A, T>, args: A): Promise<T> {
    if (typeof fn !== 'function') throw invalidOption('fn', shownType(fn), 'a function');
    const shared = { notify: this.#notify, budget: this.#budget };
    // From here on, so that it ends the waiting for a connection, too.
    const limited = timed(settings);
    return this.#connection.run(
      ({ forCalls, reports }) => leasedCall(forCalls, limited, (ai) => fn(ai, ...args), { ...shared, reports }),
      limited.signal,
    );
  }

  /** Takes leases for whoever calls Gemini in a way of his own, and tells of them. */
  #taking<L, T>(
    model: string,
    take: (connected: Connected) => Promise<L>,
    handOut: (taken: L, held: (lease: Lease) => LeasedKey) => T,
    signal?: AbortSignal,
  ): Promise<T> {
    const askedAt = performance.now();
    const about = { method: LEASE_METHOD, model };
    return this.#connection.run(async (connected) => {
      try {
        const taken = await take(connected);
        const waitedMs = performance.now() - askedAt;
        return handOut(taken, (lease) => {
          const { keyId, project } = lease;
          this.#notify({ ...about, type: 'lease', keyId, project, waitedMs, attempt: 0 });
          return leasedKey(lease, { ...connected, notify: this.#notify });
        });
      } catch (error) {
        signal?.throwIfAborted();
        if (error instanceof KeyBalancerError) {
          const { reason, retryAfterMs } = error;
          this.#notify({ ...about, type: 'exhausted', reason, retryAfterMs, attempts: 0 });
        }
        throw error;
      }
    }, signal);
  }

  #servedOne(): void {
    this.#served++;
    if (this.#served > 1) return;
    process.emitWarning(
      `the balancer is away; calls go with the fallback key until it is back (${FALLBACK_KEY_ID} in events)`,
      'KeyBalancerWarning',
    );
  }
}
