import { acquireNow, type Granted, serveWaiting, type WaitingAcquire, wait } from '../../src/engine/acquire.ts';
import { Engine, type EngineOptions, type NewKey } from '../../src/engine/engine.ts';
import { BalancerError } from '../../src/engine/errors.ts';
import { type Key, keyId } from '../../src/engine/key.ts';
import type { Lease } from '../../src/engine/lease.ts';
import { type Constraints, matcher, type Order } from '../../src/engine/order.ts';
import type { Pool } from '../../src/engine/pool.ts';
import type { Rest } from '../../src/engine/rest.ts';
import { DEFAULT_POOL, type KeySettings, type PoolSettings } from '../../src/engine/settings.ts';
import { type Result, type Settlement, settle } from '../../src/engine/settle.ts';
import { shortage } from '../../src/engine/shortage.ts';
import { type Finding, plainFinding } from '../../src/gemini/finding.ts';
import { ErrorClass, Outcome } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { keySettings } from '../support/orders.ts';

/** What an acquire of a test asks for. */
export type Wish = Partial<Omit<Order, 'matches'> & Constraints>;

/** How a waiting acquire came out. */
export interface Waited {
  waiter: WaitingAcquire;
  granted: Granted | undefined;
  refused: BalancerError | undefined;
}

/** An engine with one pool and a clock that the test moves. It does after each operation what a store does. */
export class Rig {
  now = 1_000;
  readonly engine: Engine;
  readonly pool: Pool;
  #ordinals = 0;

  constructor(settings: Partial<PoolSettings> = {}, options: EngineOptions = {}) {
    this.engine = new Engine(1, options);
    this.pool = this.engine.addPool({ ...DEFAULT_POOL, ...settings });
  }

  addKey(settings: Partial<KeySettings> = {}): Key {
    const key = this.engine.addKey(this.pool, newKey(++this.#ordinals, settings), this.now);
    this.serve();
    return key;
  }

  addKeys(count: number, settings: Partial<KeySettings> = {}): Key[] {
    return Array.from({ length: count }, () => this.addKey(settings));
  }

  change(key: Key, change: Partial<KeySettings>): void {
    this.engine.changeKey(key, { ...key.settings, ...change }, this.now);
    this.serve();
  }

  changePool(change: Partial<PoolSettings>): void {
    this.pool.settings = { ...this.pool.settings, ...change };
    this.pool.settingsVersion++;
    for (const key of this.pool.keys) if (key !== undefined) this.pool.place(key, this.now);
    this.serve();
  }

  removeKey(key: Key): void {
    this.engine.removeKey(key, this.now);
    this.serve();
  }

  /** A lease, or undefined when there is none. */
  acquire(wish: Wish = {}): Lease | undefined {
    return this.grant(wish)?.batches[0]?.[0];
  }

  grant(wish: Wish = {}): Granted | undefined {
    this.engine.advance(this.now);
    return acquireNow(this.engine, this.pool, order(wish), this.now);
  }

  /** The key of a lease that must be there. */
  pick(wish: Wish = {}): Key {
    const lease = this.acquire(wish);
    if (lease === undefined) throw new Error('no key is free');
    return lease.key;
  }

  /** Takes a key and gives it back at once, having worked. */
  use(wish: Wish = {}): Key {
    const lease = this.acquire(wish);
    if (lease === undefined) throw new Error('no key is free');
    this.report(lease);
    return lease.key;
  }

  whyNot(wish: Wish = {}): BalancerError {
    this.engine.advance(this.now);
    const asked = order(wish);
    return shortage(this.engine, this.pool, this.pool.laneFor(asked.model, this.now), asked, this.now);
  }

  /** An acquire that waits, when nothing is free; it may come out at once. */
  wait(wish: Wish = {}, maxWaitMs = 60_000): Waited {
    const waited = { granted: this.grant(wish), refused: undefined } as Waited;
    if (waited.granted !== undefined) return waited;
    waited.waiter = wait(this.engine, this.pool, order(wish), this.now + maxWaitMs, this.now, {
      granted: (granted) => {
        if (waited.granted !== undefined || waited.refused !== undefined) throw new Error('served twice');
        waited.granted = granted;
      },
      refused: (error) => {
        if (waited.granted !== undefined || waited.refused !== undefined) throw new Error('served twice');
        waited.refused = error;
      },
    });
    return waited;
  }

  report(lease: Lease, result: Partial<Result> = {}): Settlement {
    this.engine.advance(this.now);
    const whole = {
      outcome: Outcome.SUCCESS,
      finding: undefined,
      inputTokens: 0,
      outputTokens: 0,
      cachedTokens: 0,
      keepLease: false,
    };
    const settlement = settle(this.engine, lease, { ...whole, ...result }, this.now);
    this.serve();
    return settlement;
  }

  fail(
    lease: Lease,
    errorClass: ErrorClass,
    finding: Partial<Finding> = {},
    { keepLease } = { keepLease: false },
  ): Settlement {
    return this.report(lease, {
      keepLease,
      outcome: Outcome.FAILURE,
      finding: { ...plainFinding(errorClass, 'key'), ...finding },
    });
  }

  /** Rests the key's (project, model) as a 429 does. */
  rest(key: Key, model: string, forMs: number): void {
    const lease = this.acquire({ model, requireKeyId: keyId(key.ordinal) });
    if (lease === undefined) throw new Error('the key is not free');
    this.fail(lease, ErrorClass.RATE_LIMITED_MINUTE, { scope: 'project-model', retryDelayMs: forMs });
  }

  pass(ms: number): void {
    this.now += ms;
    this.engine.advance(this.now);
  }

  serve(): void {
    serveWaiting(this.engine, this.pool, this.now);
  }
}

/** A key that the engine has not seen. */
export function newKey(ordinal: number, settings: Partial<KeySettings> = {}): NewKey {
  const record = {
    fingerprint: `fingerprint-${ordinal}`,
    redactedKey: 'AQ.t…',
    createTime: 0,
    updateTime: 0,
    version: 1,
    revision: 0,
    createRevision: 0,
  };
  return { ordinal, settings: keySettings(settings), record };
}

export function order(wish: Wish = {}): Order {
  const whole = {
    caller: 'local',
    model: '',
    tokens: 0,
    affinityKey: '',
    ttlMs: undefined,
    sessionId: '',
    priority: 0,
    requireProject: '',
    requireKeyId: '',
    excludeKeyIds: [],
    excludeProjects: [],
    batches: undefined,
    ...wish,
  };
  return { ...whole, matches: matcher(whole) };
}

/** A plain cooldown, from the beginning of time. */
export function restOf(model: string, cause: ErrorClass, until: number): Rest {
  return {
    model,
    cause,
    since: 0,
    until,
    strikes: 0,
    probeAt: Infinity,
    afterEnd: 'over',
    forgetAt: until,
    dayEnd: undefined,
    trial: undefined,
  };
}

/** Keys by id, as exclude_key_ids names them. */
export function ids(...keys: Key[]): string[] {
  return keys.map((key) => keyId(key.ordinal));
}

/** The key of a waiting acquire that was served. */
export function keyOf(waited: Waited): Key | undefined {
  return waited.granted?.batches[0]?.[0]?.key;
}

/** How often each key occurs. */
export function tally(keys: Iterable<Key>): Map<Key, number> {
  const counts = new Map<Key, number>();
  for (const key of keys) counts.set(key, (counts.get(key) ?? 0) + 1);
  return counts;
}

export function isRefusal(error: unknown): error is BalancerError {
  return error instanceof BalancerError;
}
