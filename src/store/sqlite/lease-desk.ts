import { acquireNow, type Granted, giveUp, wait } from '../../engine/acquire.ts';
import { BalancerError } from '../../engine/errors.ts';
import { matcher, type Order } from '../../engine/order.ts';
import type { Pool } from '../../engine/pool.ts';
import { shortage } from '../../engine/shortage.ts';
import type { AcquireOrder, BatchGrant, BatchOrder, LeaseGrant } from '../store.ts';
import { storeUnavailable } from './committer.ts';
import type { LeaseContext } from './lease-context.ts';
import { type Given, LeaseGrants } from './lease-grants.ts';

/** Gives leases: at once from memory, or to those who wait when a key is free. What it gave is written right after. */
export class LeaseDesk {
  readonly #context: LeaseContext;
  readonly #grants: LeaseGrants;

  constructor(context: LeaseContext) {
    this.#context = context;
    this.#grants = new LeaseGrants(context);
  }

  acquire(request: AcquireOrder, signal: AbortSignal | undefined): Promise<LeaseGrant> {
    if (request.idempotency === undefined) return this.#acquire(request, signal);
    return this.#context.replays.once(
      request.idempotency,
      () => this.#acquire(request, signal),
      async (answer) => {
        const given = JSON.parse(answer) as Given;
        const lease = this.#grants.active(given);
        const apiKey = this.#grants.cachedSecret(lease.key) ?? (await this.#grants.secret(lease.key));
        return this.#grants.grant(lease, apiKey, given, { waitedMs: 0, replayed: true });
      },
    );
  }

  acquireBatches(request: BatchOrder, signal: AbortSignal | undefined): Promise<BatchGrant> {
    const { replays, clock } = this.#context;
    const answered = (batches: LeaseGrant[][]): BatchGrant => ({
      batches: batches.map((leases, index) => ({ requestedSize: request.batchSizes[index]!, leases })),
      replayed: false,
    });
    return replays.once(
      request.idempotency,
      async () => {
        const order = batchOrder(request);
        const since = clock.now();
        const granted =
          this.#leaseNow(request.pool, order, request.maxWaitMs) ??
          (await this.#leaseLater(request.pool, order, request.maxWaitMs, signal));
        const given = granted.batches.map((batch) => batch.map((lease) => this.#grants.given(lease, false)));
        replays.remember(request.idempotency, given);
        const manner = { waitedMs: clock.now() - since, replayed: false };
        return answered(await this.#grants.grantAll(given, manner));
      },
      async (answer) => {
        const given = JSON.parse(answer) as Given[][];
        return answered(await this.#grants.grantAll(given, { waitedMs: 0, replayed: true }));
      },
    );
  }

  /** Refuses all who wait. */
  dismiss(): void {
    const { engine } = this.#context;
    for (const pool of engine.pools.values()) {
      for (const lane of pool.lanes.values()) {
        for (let waiter = lane.waiting.first(); waiter !== undefined; waiter = lane.waiting.first()) {
          const waiting = waiter as Parameters<typeof giveUp>[1];
          giveUp(engine, waiting);
          waiting.refused(draining());
        }
      }
    }
  }

  /** Awaits nothing where a key is free and its secret at hand: every acquire goes this way. */
  async #acquire(request: AcquireOrder, signal: AbortSignal | undefined): Promise<LeaseGrant> {
    const { replays, clock } = this.#context;
    const order = singleOrder(request);
    let waitedMs = 0;
    let granted = this.#leaseNow(request.pool, order, request.maxWaitMs);
    if (granted === undefined) {
      const since = clock.now();
      granted = await this.#leaseLater(request.pool, order, request.maxWaitMs, signal);
      waitedMs = clock.now() - since;
    }
    const lease = granted.batches[0]![0]!;
    const given = this.#grants.given(lease, granted.affinityHit);
    replays.remember(request.idempotency, given);
    const apiKey = this.#grants.cachedSecret(lease.key) ?? (await this.#grants.secret(lease.key));
    return this.#grants.grant(lease, apiKey, given, { waitedMs, replayed: false });
  }

  /** undefined: there is no key now, and the order may wait. */
  #leaseNow(poolName: string, order: Order, maxWaitMs: number): Granted | undefined {
    const { engine, alarm, committer } = this.#context;
    const now = alarm.advance();
    if (engine.draining) throw draining();
    if (committer.failing) throw storeUnavailable();
    const pool = engine.pool(poolName);
    const granted = acquireNow(engine, pool, order, now);
    if (granted !== undefined) this.#given(pool, granted, now);
    else if (maxWaitMs <= 0) {
      throw this.#refused(pool, shortage(engine, pool, pool.laneFor(order.model, now), order, now));
    }
    return granted;
  }

  /** Whoever waits is served by whatever frees a key. */
  async #leaseLater(
    poolName: string,
    order: Order,
    maxWaitMs: number,
    signal: AbortSignal | undefined,
  ): Promise<Granted> {
    const { engine, clock } = this.#context;
    const pool = engine.pool(poolName);
    const now = clock.now();
    try {
      const granted = await this.#wait(pool, order, now + maxWaitMs, now, signal);
      this.#given(pool, granted, now);
      return granted;
    } catch (error) {
      throw this.#refused(pool, error);
    }
  }

  #given(pool: Pool, { batches }: Granted, since: number): void {
    const { alarm, clock, committer, latencies } = this.#context;
    for (const batch of batches) pool.counters.acquired += batch.length;
    alarm.arm();
    committer.touch();
    latencies.record(pool, 'acquire', clock.now() - since);
  }

  #refused(pool: Pool, error: unknown): unknown {
    pool.acquiresRejected++;
    const reason = error instanceof BalancerError ? error.reason : 'INTERNAL';
    const { refusals } = pool.counters;
    refusals[reason] = (refusals[reason] ?? 0) + 1;
    this.#context.engine.changes.poolUsage.add(pool);
    this.#context.committer.touch();
    return error;
  }

  #wait(pool: Pool, order: Order, deadline: number, now: number, signal: AbortSignal | undefined): Promise<Granted> {
    const { engine, alarm } = this.#context;
    return new Promise((resolve, reject) => {
      const gone = (): void => {
        giveUp(engine, waiter);
        alarm.advance();
        reject(new BalancerError('OPERATION_CANCELLED', 'the caller gave up while the acquire waited'));
      };
      if (signal?.aborted) {
        reject(new BalancerError('OPERATION_CANCELLED', 'the caller was gone before the acquire could wait'));
        return;
      }
      const waiter = wait(engine, pool, order, deadline, now, {
        granted: (granted) => {
          signal?.removeEventListener('abort', gone);
          resolve(granted);
        },
        refused: (error) => {
          signal?.removeEventListener('abort', gone);
          reject(error);
        },
      });
      signal?.addEventListener('abort', gone, { once: true });
      alarm.arm();
    });
  }
}

function draining(): BalancerError {
  return new BalancerError('DRAINING', 'this server is shutting down; try another, or again once it is back');
}

function singleOrder(request: AcquireOrder): Order {
  return {
    caller: request.caller,
    model: request.model,
    tokens: request.estimatedTokens,
    affinityKey: request.affinityKey,
    ttlMs: request.leaseTtlMs,
    sessionId: request.sessionId,
    priority: request.priority,
    requireProject: request.requireProject,
    requireKeyId: request.requireKeyId,
    matches: matcher(request),
    batches: undefined,
  };
}

function batchOrder(request: BatchOrder): Order {
  return {
    caller: request.caller,
    model: request.model,
    tokens: 0,
    affinityKey: '',
    ttlMs: request.leaseTtlMs,
    sessionId: '',
    priority: 0,
    requireProject: '',
    requireKeyId: '',
    matches: undefined,
    batches: { sizes: request.batchSizes, reuse: request.keyReuse, partial: request.allowPartial },
  };
}
