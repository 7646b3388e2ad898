import { performance } from 'node:perf_hooks';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { isAway } from './away.ts';
import { reportWaitMs, withAwayPolicy } from './away-policy.ts';
import type { Balancer } from './balancer.ts';
import type { Place } from './config.ts';
import { connect } from './connect.ts';
import { closedError, KeyBalancerError } from './errors.ts';
import { OpenLeases } from './open-leases.ts';
import type { ClientSettings } from './options.ts';
import { Reports } from './reports.ts';
import { unlessAborted } from './unless-aborted.ts';
import { within } from './within.ts';

/** What calls are made by. */
export interface Connected {
  balancer: Balancer;
  /** The same, whose leases the client waits for when it is closed: those of calls, not those that somebody keeps. */
  forCalls: Balancer;
  reports: Reports;
  /** Longest wait of a lease's holder for the answer to its report, in milliseconds. */
  reportWaitMs: number;
}

/** Longest wait of close() for calls that run. */
const CLOSE_MS = 10_000;
/** Longest time to give the leases back of those that still run then. */
const GIVE_UP_MS = 2_000;
/** Longest wait of a call for the pool to be made as the options want it, and the pause before that is tried again. */
const SETTLE_MS = 2_000;
const SETTLE_AGAIN_MS = 1_000;

/** The way to the balancer of one client: made with the first call, and let go when the client is closed. */
export class ClientConnection {
  /** Decrypted keys to keep, where this process opens the data dir. */
  cacheSize: number | undefined;
  readonly #place: Place;
  readonly #settings: ClientSettings;
  readonly #served: () => void;
  readonly #leases = new OpenLeases();
  readonly #running = new Set<Promise<unknown>>();
  readonly #ended = new AbortController();
  #connecting: Promise<Connected> | undefined;
  #closing: Promise<void> | undefined;
  /** Whether the pool is as the options want it. */
  #isSettled: boolean;
  #settledAt = 0;

  /** `served` hears of each lease of the fallback key. */
  constructor(place: Place, settings: ClientSettings, served: () => void) {
    this.#place = place;
    this.#settings = settings;
    this.#served = served;
    this.cacheSize = settings.cacheSize;
    this.#isSettled = settings.autoSuccess === undefined;
  }

  /** Aborted when the client is closed. */
  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  /** Whether the first call was made. */
  get isBegun(): boolean {
    return this.#connecting !== undefined;
  }

  async use(): Promise<Connected> {
    if (this.#ended.signal.aborted) throw closedError('this KeyBalancer');
    this.#connecting ??= this.#connect();
    const connected = await this.#connecting;
    if (!this.#isSettled && performance.now() - this.#settledAt >= SETTLE_AGAIN_MS) {
      // Behind the calls' back: the first has waited for it.
      void this.#settle(connected.balancer).catch((error: Error) => {
        this.#isSettled = true;
        process.emitWarning(`autoSuccess could not be set: ${error.message}`, 'KeyBalancerWarning');
      });
    }
    return connected;
  }

  /** Uses it; the client waits for that when it is closed. The signal ends the waiting for a connection, too. */
  run<T>(use: (connected: Connected) => Promise<T>, signal?: AbortSignal): Promise<T> {
    return this.track(unlessAborted(this.use(), signal).then(use));
  }

  async track<T>(running: Promise<T>): Promise<T> {
    this.#running.add(running);
    try {
      return await running;
    } finally {
      this.#running.delete(running);
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  #connect(): Promise<Connected> {
    const { call, credentials, away } = this.#settings;
    const embedded = {
      // Without a server, what is asked of Gemini goes the way that the calls go.
      geminiBaseUrl: call.genai.httpOptions?.baseUrl,
      ...(this.cacheSize !== undefined && { cacheSize: this.cacheSize }),
    };
    const connecting = connect({ ...this.#place, embedded, remote: credentials }).then(async (bare) => {
      try {
        await this.#settle(bare);
      } catch (error) {
        await bare.close();
        throw error;
      }
      const balancer = withAwayPolicy(bare, away, this.#served);
      const forCalls = this.#leases.around(balancer);
      return { balancer, forCalls, reports: new Reports(forCalls), reportWaitMs: reportWaitMs(away) };
    });
    // The next call tries again.
    connecting.catch(() => {
      if (this.#connecting === connecting) this.#connecting = undefined;
    });
    return connecting;
  }

  /** Makes the pool as the options want it, or later, where the balancer is away. */
  async #settle({ keyAdmin }: Balancer): Promise<void> {
    const { autoSuccess, call } = this.#settings;
    if (this.#isSettled || autoSuccess === undefined) return;
    this.#settledAt = performance.now();
    const pool = { pool: call.pool || 'default', autoSuccess };
    try {
      await keyAdmin.updatePool({ pool, updateMask: { paths: ['auto_success'] } }, { timeoutMs: SETTLE_MS });
      this.#isSettled = true;
    } catch (error) {
      const isLate = error instanceof KeyBalancerError && error.code === 'DEADLINE_EXCEEDED';
      if (!isLate && !isAway(error)) throw error;
    }
  }

  async #close(): Promise<void> {
    // Calls of the SDK that were made just before come here in this turn of the event loop.
    await nextTurn();
    this.#ended.abort();
    await within(CLOSE_MS, this.#finished());
    const connected = await this.#connecting?.catch(() => undefined);
    if (connected !== undefined) await this.#leases.giveUp(connected.balancer, GIVE_UP_MS);
    await connected?.balancer.close();
    connected?.reports.close();
  }

  async #finished(): Promise<void> {
    await Promise.allSettled(this.#running);
    const connected = await this.#connecting?.catch(() => undefined);
    await this.#leases.none();
    await connected?.reports.settled();
  }
}
