import type { GoogleGenAI } from '@google/genai';
import type { GetStatsResponse, MemoryStats, WatchHealthResponse } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import type { ClientEventType, ListenerOf } from './client-events.ts';
import type { ImportSummary } from './import-summary.ts';
import type { ImportOptions } from './key-file.ts';
import type { BatchOptions, LeaseOptions } from './lease-options.ts';
import type { LeasedGenAIOptions } from './leased-genai.ts';
import type { LeasedKey } from './leased-key.ts';
import type { RetryOptions } from './options.ts';
import type { WatchOptions } from './watch.ts';

/**
 * A function that calls Gemini: gets a real GoogleGenAI that has the lease's key, and may be run several times. It reads
 * streams to their end itself, since the lease ends with it.
 */
export type GeminiFunction<A extends unknown[], T> = (ai: GoogleGenAI, ...args: A) => T | Promise<T>;

/**
 * Calls of Gemini with leased keys. One for a process is enough. Its methods reject with a KeyBalancerError: INVALID_ARGUMENT for what
 * cannot be, FAILED_PRECONDITION once it is closed, UNAVAILABLE when the balancer cannot be reached; those that return no promise throw it.
 */
export interface KeyBalancer extends AsyncDisposable {
  /**
   * A real GoogleGenAI, to be used as ever and for as long as one likes: each of its requests is made with a leased key, reported,
   * and tried again with another while that helps. Options are the SDK's own, without apiKey, and go before those of the client; `affinityKey` is ours.
   */
  genai(options?: LeasedGenAIOptions): GoogleGenAI;
  /**
   * Runs fn with a leased key, and again with others while Gemini's failures say that it helps. Every lease is reported.
   * Rejects with Gemini's own error, `attempts` on it; with what fn threw of its own, what its other clients met included;
   * with the signal's reason; or with a KeyBalancerError when no key could be had, or, ANSWER_LOST, when something may have been made of
   * which Gemini's answer broke off: fn is not run again then. Leases name the `model` of the client's options. Where fn names a file or
   * the like that is not of the key's project, it is run again with a key of that project, which costs no retry.
   */
  executeWithRetry<A extends unknown[], T>(fn: GeminiFunction<A, T>, ...args: A): Promise<T>;
  /** The function that does so each time it is called. What its options leave out is as the client has it. */
  withRetry<A extends unknown[], T>(fn: GeminiFunction<A, T>, options?: RetryOptions): (...args: A) => Promise<T>;
  /**
   * A key for whatever calls Gemini in its own way: `await using key = await balancer.lease()`. To be reported or disposed of before
   * close(). Rejects with RESOURCE_EXHAUSTED or FAILED_PRECONDITION, and a reason, when no key could be had.
   */
  lease(options?: LeaseOptions): Promise<LeasedKey>;
  /**
   * Keys for several batches, such as [10, 20, 30], all or none; a key may be in several, and in one of them once. 1 to 100 batches,
   * each of 1 to 1,000 keys, 10,000 together. Each key is reported by itself, as one of lease().
   */
  leaseBatches(sizes: readonly number[], options?: BatchOptions): Promise<LeasedKey[][]>;
  /** leaseBatches() by its predecessor's name. */
  batchGetKeys(sizes: readonly number[], options?: BatchOptions): Promise<LeasedKey[][]>;
  /**
   * Changes of health as they come: a snapshot, then events. It goes on by itself after a restart of the server; `snapshot.reset` says when
   * to begin anew. It ends when the loop over it is left, and when the client is closed.
   */
  watchHealth(options?: WatchOptions): AsyncIterable<WatchHealthResponse>;
  /**
   * Tells of leases, retries, reports and calls that got no key. Returns the way to stop it. What the listener throws is an uncaught
   * error of the process, and harms no call.
   */
  on<T extends ClientEventType>(type: T, listener: ListenerOf<T>): () => void;
  /**
   * Adds a key to the pool. False: it is there already, and stays as it is. Weight: 0.001 to 1,000, default 1: a key of weight 2 gets twice the
   * calls of one of weight 1. Source: any name for where keys came from, at most 128 characters; default "manual".
   */
  addKey(apiKey: string, weight?: number, source?: string): Promise<boolean>;
  /**
   * Adds the keys of a file: text with a line each, KEY or KEY:WEIGHT, CSV, JSON, JSON Lines or .env (`KeyFileFormat`). What is no key is in
   * the summary's `rejections`, and the others are imported. Source: of keys that the file gives none; default "imported".
   */
  importKeysFromFile(
    path: string,
    source?: string,
    options?: Omit<ImportOptions, 'pool' | 'source'>,
  ): Promise<ImportSummary>;
  /**
   * Counters and gauges of the pool, and the health of its first 1,000 keys. Reports of this client are in it: those on their way are
   * waited for, 2 s at most.
   */
  getStats(): Promise<GetStatsResponse>;
  /** What the balancer's keys hold in memory, in bytes. */
  getMemoryUsage(): Promise<MemoryStats>;
  /**
   * Sets how many decrypted keys to keep, 1 to 10,000,000, where this process opens the data dir; to be called before the first call. Hardly
   * needed: by itself it keeps all, to 100,000. Later, and with a server, which sizes its own, it changes nothing and warns of that.
   */
  optimizeForLargeKeysets(keys: number): void;
  /** Calls that the fallback key served while the balancer was away. */
  readonly servedByFallback: number;
  /**
   * Waits for the calls that run, streams that are read and live sessions included, and for reports on their way, 10 s at most, gives
   * back the keys of calls that still run then, and lets go. Calls made later reject. Keys of lease() and leaseBatches() are to be disposed of before: a
   * report that comes later is lost.
   */
  close(): Promise<void>;
}
