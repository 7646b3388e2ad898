import { durationFromMs } from '@bufbuild/protobuf/wkt';
import type { GoogleGenAI } from '@google/genai';
import {
  type GetStatsResponse,
  KeyReuse,
  type MemoryStats,
  type WatchHealthResponse,
} from '../gen/keybalancer/v1/keybalancer_pb.ts';
import { FALLBACK_KEY_ID, withAwayPolicy } from './away-policy.ts';
import type { Balancer } from './balancer.ts';
import { ClientEvents, type ClientEventType, type ListenerOf } from './client-events.ts';
import { placeOf } from './config.ts';
import { connect } from './connect.ts';
import { closedError, invalidOption, KeyBalancerError } from './errors.ts';
import { createLeasedGenAI } from './genai/leased-client.ts';
import { ResourceOrigins } from './genai/resource-origins.ts';
import { type ImportOptions, type ImportSummary, importKeyFile } from './key-file.ts';
import { leasedCall } from './leased-call.ts';
import type { GenAIOptions } from './leased-genai.ts';
import { type LeasedKey, leasedKey } from './leased-key.ts';
import {
  type ClientSettings,
  checkedRetryOptions,
  checkNewKey,
  clientSettings,
  type KeyBalancerOptions,
  type RetryOptions,
  retrySettings,
  shownType,
} from './options.ts';
import { patientAcquire } from './patient-acquire.ts';
import { Reports } from './reports.ts';
import { createRetryBudget } from './retry-budget.ts';
import { createTelemetry } from './telemetry.ts';
import { type WatchOptions, watchHealth } from './watch.ts';

/**
 * A function that calls Gemini: gets a real GoogleGenAI that has the lease's key, and may be run several times. It reads
 * streams to their end itself, since the lease ends with it.
 */
export type GeminiFunction<A extends unknown[], T> = (ai: GoogleGenAI, ...args: A) => T | Promise<T>;

/** What a lease is wanted for. */
export interface LeaseOptions {
  /** Gemini model, such as "gemini-2.5-flash": limits are counted by model. Default: the client's. */
  model?: string;
  /** Same value: same key while it is free and well. */
  affinityKey?: string;
  requireProject?: string;
  excludeKeyIds?: readonly string[];
  excludeProjects?: readonly string[];
  /** Expected input tokens, for limits of tokens a minute. */
  estimatedTokens?: number;
  /** Milliseconds to wait for a key; default: the client's maxWait, else 0. */
  maxWait?: number;
  signal?: AbortSignal;
}

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
  leaseBatches(sizes: readonly number[], options?: Pick<LeaseOptions, 'model' | 'maxWait'>): Promise<LeasedKey[][]>;
  /** Changes of health as they come. It goes on by itself after a restart of the server; `snapshot.reset` says when to begin anew. */
  watchHealth(options?: WatchOptions): AsyncIterable<WatchHealthResponse>;
  /** Tells of leases, retries, reports and calls that got no key. Returns the way to stop it. */
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
  /** Calls that the fallback key served while the balancer was away. */
  readonly servedByFallback: number;
  /** Waits for the calls that run and for reports on their way, 10 s at most, and lets go. Calls made later reject. */
  close(): Promise<void>;
}

/** Longest wait of close() for calls that run, and of getStats() for reports on their way. */
const CLOSE_MS = 10_000;
const SETTLE_MS = 2_000;

/** Connects, or opens the data dir, with the first call. Throws when an option is not right. */
export function createKeyBalancer(options: KeyBalancerOptions = {}): KeyBalancer {
  return new Client(options);
}

interface Connection {
  balancer: Balancer;
  reports: Reports;
}

class Client implements KeyBalancer {
  readonly #place: ReturnType<typeof placeOf>;
  readonly #settings: ClientSettings;
  readonly #events = new ClientEvents();
  readonly #budget: ReturnType<typeof createRetryBudget>;
  readonly #telemetry = createTelemetry();
  readonly #origins = new ResourceOrigins();
  readonly #running = new Set<Promise<unknown>>();
  readonly #ended = new AbortController();
  #connection: Promise<Connection> | undefined;
  #closing: Promise<void> | undefined;
  #served = 0;

  constructor(options: KeyBalancerOptions) {
    this.#settings = clientSettings(options);
    this.#place = placeOf(options);
    this.#budget = createRetryBudget(this.#settings.retryBudget);
  }

  get servedByFallback(): number {
    return this.#served;
  }

  genai(options: GenAIOptions = {}): GoogleGenAI {
    const { call, maxProjects } = this.#settings;
    const { pool, maxRetries, retryDelay, maxWait } = call;
    const settings = { pool, maxRetries, retryDelay, maxWait, ...(maxProjects !== undefined && { maxProjects }) };
    const context = {
      connected: () => this.#use(),
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

  lease(options: LeaseOptions = {}): Promise<LeasedKey> {
    const { pool, model, maxWait } = this.#settings.call;
    const { signal, estimatedTokens = 0 } = options;
    const request = {
      pool,
      model: options.model ?? model,
      affinityKey: options.affinityKey ?? '',
      requireProject: options.requireProject ?? '',
      excludeKeyIds: [...(options.excludeKeyIds ?? [])],
      excludeProjects: [...(options.excludeProjects ?? [])],
      estimatedTokens: BigInt(Math.max(0, Math.round(estimatedTokens))),
    };
    return this.#run(async ({ balancer, reports }) => {
      const left = { waitMs: options.maxWait ?? maxWait ?? 0 };
      const giveBack = (coming: Parameters<Reports['giveBack']>[0]): void => reports.giveBack(coming);
      const lease = await patientAcquire(balancer, request, { left, mayWait: left.waitMs > 0, signal, giveBack });
      return leasedKey(balancer, lease, reports);
    });
  }

  leaseBatches(
    sizes: readonly number[],
    { model, maxWait = 0 }: Pick<LeaseOptions, 'model' | 'maxWait'> = {},
  ): Promise<LeasedKey[][]> {
    const { call } = this.#settings;
    return this.#run(async ({ balancer, reports }) => {
      const { batches } = await balancer.keyBalancer.batchGetKeys({
        pool: call.pool,
        model: model ?? call.model,
        batchSizes: [...sizes],
        keyReuse: KeyReuse.UNIQUE_IN_BATCH,
        ...(maxWait > 0 && { maxWait: durationFromMs(maxWait) }),
      });
      return batches.map(({ leases }) => leases.map((lease) => leasedKey(balancer, lease, reports)));
    });
  }

  watchHealth(options: WatchOptions = {}): AsyncIterable<WatchHealthResponse> {
    return watchHealth(() => this.#use(), { pool: this.#settings.call.pool, ended: this.#ended.signal }, options);
  }

  on<T extends ClientEventType>(type: T, listener: ListenerOf<T>): () => void {
    return this.#events.on(type, listener);
  }

  addKey(apiKey: string, weight = 1, source = 'manual'): Promise<boolean> {
    const { pool } = this.#settings.call;
    return this.#run(async ({ balancer }) => {
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
    return this.#run(({ balancer }) => importKeyFile(balancer, path, { ...options, pool, source }));
  }

  getStats(): Promise<GetStatsResponse> {
    const { pool } = this.#settings.call;
    return this.#run(async ({ balancer, reports }) => {
      await within(SETTLE_MS, reports.settled());
      const pools = [pool || 'default'];
      return balancer.keyBalancer.getStats({ pools, includeKeys: true, includeModels: true });
    });
  }

  async getMemoryUsage(): Promise<MemoryStats> {
    const { server } = await this.getStats();
    return server!.memory!;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #notify = (event: Parameters<ClientEvents['emit']>[0]): void => {
    this.#telemetry(event);
    this.#events.emit(event);
  };

  async #call<A extends unknown[], T>(settings: ClientSettings['call'], fn: GeminiFunction<A, T>, args: A): Promise<T> {
    if (typeof fn !== 'function') throw invalidOption('fn', shownType(fn), 'a function');
    const shared = { notify: this.#notify, budget: this.#budget };
    return this.#run(({ balancer, reports }) =>
      leasedCall(balancer, settings, (ai) => fn(ai, ...args), { ...shared, reports }),
    );
  }

  async #run<T>(use: (connection: Connection) => Promise<T>): Promise<T> {
    const running = this.#use().then(use);
    this.#running.add(running);
    try {
      return await running;
    } finally {
      this.#running.delete(running);
    }
  }

  async #use(): Promise<Connection> {
    if (this.#closing !== undefined) throw closedError('this KeyBalancer');
    this.#connection ??= this.#connect();
    return this.#connection;
  }

  #connect(): Promise<Connection> {
    const { call, credentials, cacheSize } = this.#settings;
    // Without a server, what is asked of Gemini goes the way that the calls go.
    const embedded = {
      geminiBaseUrl: call.genai.httpOptions?.baseUrl,
      ...(cacheSize !== undefined && { cacheSize }),
    };
    const connecting = connect({ ...this.#place, embedded, remote: credentials }).then(async (balancer) => {
      await this.#settle(balancer);
      const patient = withAwayPolicy(balancer, this.#settings.away, () => this.#servedOne());
      return { balancer: patient, reports: new Reports(patient) };
    });
    // The next call tries again.
    connecting.catch(() => {
      if (this.#connection === connecting) this.#connection = undefined;
    });
    return connecting;
  }

  /** Makes the pool as the options want it. */
  async #settle(balancer: Balancer): Promise<void> {
    const { autoSuccess, call } = this.#settings;
    if (autoSuccess === undefined) return;
    const pool = { pool: call.pool || 'default', autoSuccess };
    await balancer.keyAdmin.updatePool({ pool, updateMask: { paths: ['auto_success'] } });
  }

  #servedOne(): void {
    this.#served++;
    if (this.#served > 1) return;
    process.emitWarning(
      `the balancer is away; calls go with the fallback key until it is back (${FALLBACK_KEY_ID} in events)`,
      'KeyBalancerWarning',
    );
  }

  async #close(): Promise<void> {
    this.#ended.abort();
    await within(CLOSE_MS, this.#finished());
    const connection = await this.#connection?.catch(() => undefined);
    await connection?.balancer.close();
    connection?.reports.close();
  }

  async #finished(): Promise<void> {
    await Promise.allSettled(this.#running);
    const connection = await this.#connection?.catch(() => undefined);
    await connection?.reports.settled();
  }
}

async function within(ms: number, ending: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const patience = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await Promise.race([ending, patience]);
  clearTimeout(timer);
}
