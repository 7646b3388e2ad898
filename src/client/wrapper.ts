import type { GoogleGenAI } from '@google/genai';
import type { GetStatsResponse } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import type { Balancer } from './balancer.ts';
import { placeOf } from './config.ts';
import { connect } from './connect.ts';
import { closedError, invalidOption, KeyBalancerError } from './errors.ts';
import { type ImportOptions, type ImportSummary, importKeyFile } from './key-file.ts';
import { type CallSettings, leasedCall } from './leased-call.ts';
import { Reports } from './reports.ts';
import {
  checkedRetryOptions,
  checkNewKey,
  type GeminiWrapperOptions,
  type RetryOptions,
  retrySettings,
  shownType,
  wrapperSettings,
} from './wrapper-options.ts';

/**
 * A function that calls Gemini: gets a real GoogleGenAI that has the lease's key, and may be run several times. It reads
 * streams to their end itself, since the lease ends with it.
 */
export type GeminiFunction<A extends unknown[], T> = (ai: GoogleGenAI, ...args: A) => T | Promise<T>;

/** Runs functions that call Gemini with leased keys, and manages the keys. */
export interface GeminiWrapper extends AsyncDisposable {
  /**
   * Runs fn with a leased key, and again with others while Gemini's failures say that it helps. Every lease is reported.
   * Rejects with Gemini's own error, `attempts` on it; with what fn threw of its own, what its other clients met included;
   * with the signal's reason; or with a KeyBalancerError when no key could be had.
   */
  executeWithRetry<A extends unknown[], T>(fn: GeminiFunction<A, T>, ...args: A): Promise<T>;
  /** The function that does so each time it is called. */
  withRetry<A extends unknown[], T>(fn: GeminiFunction<A, T>, options?: RetryOptions): (...args: A) => Promise<T>;
  /** Adds a key to the pool. False: it is there already, and stays as it is. */
  addKey(apiKey: string, weight?: number, source?: string): Promise<boolean>;
  /** Adds the keys of a file: a line each, KEY or KEY:WEIGHT; blank lines and those that begin with # are skipped. */
  importKeysFromFile(
    path: string,
    source?: string,
    options?: Omit<ImportOptions, 'pool' | 'source'>,
  ): Promise<ImportSummary>;
  /** Counters and gauges of the pool, and the health of its first 1,000 keys. */
  getStats(): Promise<GetStatsResponse>;
  /** Waits for the calls that run and for reports on their way, 10 s at most, and lets go. Calls made later reject. */
  close(): Promise<void>;
}

/** Longest wait of close() for calls that run. */
const CLOSE_MS = 10_000;

/** Connects, or opens the data dir, with the first call. Throws when an option is not right. */
export function createGeminiWrapper(options: GeminiWrapperOptions = {}): GeminiWrapper {
  return new Wrapper(options);
}

interface Connection {
  balancer: Balancer;
  reports: Reports;
}

class Wrapper implements GeminiWrapper {
  readonly #place: ReturnType<typeof placeOf>;
  readonly #settings: CallSettings;
  #connection: Promise<Connection> | undefined;
  readonly #running = new Set<Promise<unknown>>();
  #closing: Promise<void> | undefined;

  constructor(options: GeminiWrapperOptions) {
    this.#settings = wrapperSettings(options);
    this.#place = placeOf(options);
  }

  executeWithRetry<A extends unknown[], T>(fn: GeminiFunction<A, T>, ...args: A): Promise<T> {
    return this.#call(this.#settings, fn, args);
  }

  withRetry<A extends unknown[], T>(fn: GeminiFunction<A, T>, options: RetryOptions = {}): (...args: A) => Promise<T> {
    const settings = retrySettings(this.#settings, checkedRetryOptions(options));
    return (...args) => this.#call(settings, fn, args);
  }

  addKey(apiKey: string, weight = 1, source = 'manual'): Promise<boolean> {
    const { pool } = this.#settings;
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
    const { pool } = this.#settings;
    return this.#run(({ balancer }) => importKeyFile(balancer, path, { ...options, pool, source }));
  }

  getStats(): Promise<GetStatsResponse> {
    const { pool } = this.#settings;
    return this.#run(({ balancer }) =>
      balancer.keyBalancer.getStats({ pools: [pool || 'default'], includeKeys: true, includeModels: true }),
    );
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #call<A extends unknown[], T>(settings: CallSettings, fn: GeminiFunction<A, T>, args: A): Promise<T> {
    if (typeof fn !== 'function') throw invalidOption('fn', shownType(fn), 'a function');
    return this.#run(({ balancer, reports }) => leasedCall(balancer, settings, (ai) => fn(ai, ...args), reports));
  }

  async #run<T>(use: (connection: Connection) => Promise<T>): Promise<T> {
    if (this.#closing !== undefined) throw closedError('this wrapper');
    const running = this.#connected().then(use);
    this.#running.add(running);
    try {
      return await running;
    } finally {
      this.#running.delete(running);
    }
  }

  #connected(): Promise<Connection> {
    if (this.#connection === undefined) {
      // Without a server, what is asked of Gemini goes the way that the calls go.
      const embedded = { geminiBaseUrl: this.#settings.genai.httpOptions?.baseUrl };
      const connecting = connect({ ...this.#place, embedded }).then((balancer) => ({
        balancer,
        reports: new Reports(balancer),
      }));
      this.#connection = connecting;
      // The next call tries again.
      connecting.catch(() => {
        if (this.#connection === connecting) this.#connection = undefined;
      });
    }
    return this.#connection;
  }

  async #close(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, CLOSE_MS);
    });
    await Promise.race([this.#finished(), patience]);
    clearTimeout(timer);
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
