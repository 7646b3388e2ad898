import type { GoogleGenAI } from '@google/genai';
import type { GetStatsResponse, MemoryStats, WatchHealthResponse } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import type { ClientEventType, ListenerOf } from './client-events.ts';
import type { ImportOptions, ImportSummary } from './key-file.ts';
import type { BatchOptions, LeaseOptions } from './lease-options.ts';
import type { GenAIOptions } from './leased-genai.ts';
import type { LeasedKey } from './leased-key.ts';
import type { RetryOptions } from './options.ts';
import type { WatchOptions } from './watch.ts';

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
