import type { GoogleGenAI } from '@google/genai';
import {
  type GetStatsResponse,
  KeyReuse,
  type MemoryStats,
  type WatchHealthResponse,
} from '../gen/keybalancer/v1/keybalancer_pb.ts';
import { parseAddresses } from './address.ts';
import { FALLBACK_KEY_ID } from './away-policy.ts';
import { fn as checkFunction, MOST_CACHED, whole } from './checks.ts';
import { ClientConnection } from './client-connection.ts';
import { ClientEvents, type ClientEventType, type ListenerOf } from './client-events.ts';
import type { GeminiFunction, KeyBalancer } from './client-interface.ts';
import { type Place, placeOf } from './config.ts';
import { credentialsOf, refuseCredentials } from './credentials.ts';
import { closedError, KeyBalancerError } from './errors.ts';
import type { ClientEvent } from './events.ts';
import type { RetryBudget } from './genai/context.ts';
import { createLeasedGenAI } from './genai/leased-client.ts';
import { ResourceOrigins } from './genai/resource-origins.ts';
import { checkedGenAI, genAIOver } from './genai-options.ts';
import type { ImportSummary } from './import-summary.ts';
import { type ImportOptions, importKeyFile } from './key-file.ts';
import { checkImport, checkNewKey } from './key-options.ts';
import { type BatchOptions, checkedBatches, checkedLease, type LeaseOptions } from './lease-options.ts';
import { leasedCall, timed } from './leased-call.ts';
import type { LeasedGenAIOptions } from './leased-genai.ts';
import type { LeasedKey } from './leased-key.ts';
import { LeasesByHand } from './leases-by-hand.ts';
import {
  type ClientSettings,
  checkEnvironment,
  checkedRetryOptions,
  clientSettings,
  type KeyBalancerOptions,
  type RetryOptions,
  retrySettings,
} from './options.ts';
import { patientAcquire, patientBatches, patientImporter } from './patient-acquire.ts';
import { keyless, patiently } from './patiently.ts';
import { createRetryBudget } from './retry-budget.ts';
import { createTelemetry } from './telemetry.ts';
import { type WatchOptions, watchHealth } from './watch.ts';
import { within } from './within.ts';

/** Longest wait of getStats() for reports on their way. */
const SETTLE_MS = 2_000;

/** Connects, or opens the data dir, with the first call. Throws when an option is not right. */
export function createKeyBalancer(options: KeyBalancerOptions = {}): KeyBalancer {
  return new Client(options);
}

class Client implements KeyBalancer {
  readonly #place: Place;
  readonly #settings: ClientSettings;
  readonly #connection: ClientConnection;
  /** Neither a listener's mistake nor that of an exporter of telemetry is a reason to fail a call. */
  readonly #events = new ClientEvents(createTelemetry());
  readonly #notify = (event: ClientEvent): void => this.#events.emit(event);
  readonly #budget: RetryBudget;
  readonly #origins = new ResourceOrigins();
  readonly #leases: LeasesByHand;
  #served = 0;

  constructor(options: KeyBalancerOptions) {
    this.#settings = clientSettings(options);
    this.#place = placeOf(options);
    checkEnvironment(this.#settings.call.genai);
    const { credentials } = this.#settings;
    if ('address' in this.#place) credentialsOf(credentials, parseAddresses(this.#place.address));
    else refuseCredentials(credentials);
    this.#budget = createRetryBudget(this.#settings.retryBudget);
    this.#connection = new ClientConnection(this.#place, this.#settings, () => this.#servedOne());
    this.#leases = new LeasesByHand(this.#connection, this.#notify);
  }

  get servedByFallback(): number {
    return this.#served;
  }

  genai(options: LeasedGenAIOptions = {}): GoogleGenAI {
    if (this.#connection.ended.aborted) throw closedError('this KeyBalancer');
    const { affinityKey, sdk } = checkedGenAI(options);
    const { call, maxProjects } = this.#settings;
    const { pool, maxRetries, retryDelay, maxWait } = call;
    const settings = { pool, maxRetries, retryDelay, maxWait, maxProjects, affinityKey };
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
    return createLeasedGenAI(context, genAIOver(call.genai, sdk));
  }

  executeWithRetry<A extends unknown[], T>(fn: GeminiFunction<A, T>, ...args: A): Promise<T> {
    return this.#call(this.#settings.call, fn, args);
  }

  withRetry<A extends unknown[], T>(fn: GeminiFunction<A, T>, options: RetryOptions = {}): (...args: A) => Promise<T> {
    checkFunction('fn', fn);
    const settings = retrySettings(this.#settings.call, checkedRetryOptions(options));
    return (...args) => this.#call(settings, fn, args);
  }

  async lease(options: LeaseOptions = {}): Promise<LeasedKey> {
    const { request, waitMs, signal } = checkedLease(options, this.#settings.call);
    const { pool } = this.#settings.call;
    return this.#leases.take(
      request.model,
      ({ balancer }) => {
        const context = { left: { waitMs }, mayWait: waitMs > 0, signal };
        return patientAcquire(balancer, { pool, ...request }, context);
      },
      (lease, held) => held(lease),
      signal,
    );
  }

  async leaseBatches(sizes: readonly number[], options: BatchOptions = {}): Promise<LeasedKey[][]> {
    const { model, batchSizes, waitMs, signal } = checkedBatches(sizes, options, this.#settings.call);
    const { pool } = this.#settings.call;
    return this.#leases.take(
      model,
      ({ balancer }) => {
        const context = { left: { waitMs }, mayWait: waitMs > 0, signal };
        return patientBatches(balancer, { pool, model, batchSizes, keyReuse: KeyReuse.UNIQUE_IN_BATCH }, context);
      },
      ({ batches }, held) => batches.map(({ leases }) => leases.map(held)),
      signal,
    );
  }

  batchGetKeys(sizes: readonly number[], options: BatchOptions = {}): Promise<LeasedKey[][]> {
    return this.leaseBatches(sizes, options);
  }

  watchHealth(options: WatchOptions = {}): AsyncIterable<WatchHealthResponse> {
    const { ended } = this.#connection;
    const { call, away } = this.#settings;
    return watchHealth(() => this.#connection.use(), { pool: call.pool, away, ended }, options);
  }

  on<T extends ClientEventType>(type: T, listener: ListenerOf<T>): () => void {
    return this.#events.on(type, listener);
  }

  addKey(apiKey: string, weight = 1, source = 'manual'): Promise<boolean> {
    const { pool } = this.#settings.call;
    return this.#connection.run(async ({ balancer }) => {
      checkNewKey({ apiKey, weight, source });
      try {
        await patiently(balancer, keyless(), (requestId, options) =>
          balancer.keyAdmin.createKey({ apiKey, key: { pool, weight, source }, requestId }, options),
        );
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
    return this.#connection.run(({ balancer }) => {
      checkImport(options);
      return importKeyFile(patientImporter(balancer), path, { ...options, pool, source });
    });
  }

  getStats(): Promise<GetStatsResponse> {
    const { pool } = this.#settings.call;
    return this.#connection.run(async ({ balancer, reports }) => {
      await within(SETTLE_MS, reports.settled());
      const pools = [pool || 'default'];
      const request = { pools, includeKeys: true, includeModels: true };
      return patiently(balancer, keyless(), (_, options) => balancer.keyBalancer.getStats(request, options));
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

  async #call<A extends unknown[], T>(settings: ClientSettings['call'], fn: GeminiFunction<A, T>, args: A): Promise<T> {
    checkFunction('fn', fn);
    const { maxProjects } = this.#settings;
    const shared = { notify: this.#notify, budget: this.#budget, origins: this.#origins, maxProjects };
    // From here on, so that it ends the waiting for a connection, too.
    const limited = timed(settings);
    return this.#connection.run(
      ({ forCalls, reports }) => leasedCall(forCalls, limited, (ai) => fn(ai, ...args), { ...shared, reports }),
      limited.signal,
    );
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
