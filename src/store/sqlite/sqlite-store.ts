import { createHistogram } from 'node:perf_hooks';
import { acquireNow, type Granted, giveUp, serveWaiting, wait } from '../../engine/acquire.ts';
import type { Changes } from '../../engine/changes.ts';
import type { Clock } from '../../engine/clock.ts';
import type { Engine } from '../../engine/engine.ts';
import { BalancerError } from '../../engine/errors.ts';
import { type Key, keyId } from '../../engine/key.ts';
import { type Lease, LeaseState, leaseRef } from '../../engine/lease.ts';
import { matcher, type Order } from '../../engine/order.ts';
import type { Pool } from '../../engine/pool.ts';
import { renew, settle } from '../../engine/settle.ts';
import { shortage } from '../../engine/shortage.ts';
import { Outcome } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { LeaseIds } from '../lease-id.ts';
import { MasterKeyError } from '../master-key.ts';
import type { SecretCache } from '../secret-cache.ts';
import type {
  AcquireOrder,
  BatchGrant,
  BatchOrder,
  CreateKeyOrder,
  HealthChange,
  Idempotency,
  ImportOrder,
  ImportOutcome,
  ImportView,
  KeyQuery,
  KeyView,
  LeaseGrant,
  LeaseView,
  Page,
  PoolSettings,
  PoolView,
  RemovedKey,
  Renewal,
  RenewOrder,
  Replayable,
  Report,
  ReportOutcome,
  Store,
  StoreStats,
  UpdateKeyOrder,
} from '../store.ts';
import type { Vault } from '../vault.ts';
import type { AdminContext } from './admin-context.ts';
import { Committer, storeUnavailable } from './committer.ts';
import { HealthLog } from './health-log.ts';
import { Importer } from './importer.ts';
import type { Journal, Rows } from './journal.ts';
import { KeyAdmin } from './key-admin.ts';
import { LeaseAdmin } from './lease-admin.ts';
import { LeaseFinder } from './lease-finder.ts';
import { PoolAdmin } from './pool-admin.ts';
import { Replays } from './replays.ts';
import { restore } from './restore.ts';
import { RowWriter } from './row-writer.ts';
import { keyView, latencyView, type PoolLatencies, poolStats, totalStats } from './views.ts';

export interface SqliteStoreOptions {
  journal: Journal;
  vault: Vault;
  leaseIds: LeaseIds;
  secrets: SecretCache;
  clock: Clock;
  /** Told when the store stops taking writes, and when it resumes. */
  onFailing?: (failing: boolean, cause: Error | undefined) => void;
}

/**
 * A store that decides in memory (the engine) and remembers in a journal that one process owns. Acquires are answered at once
 * and written right after; everything else is answered when its group commit is done.
 */
export class SqliteStore implements Store {
  readonly #engine: Engine;
  readonly #options: SqliteStoreOptions;
  readonly #clock: Clock;
  readonly #committer: Committer;
  readonly #replays: Replays;
  readonly #writer: RowWriter;
  readonly #finder: LeaseFinder;
  readonly #healthLog: HealthLog;
  readonly #latencies = new WeakMap<Pool, PoolLatencies>();
  readonly #totalLatencies = newLatencies();
  readonly #commits = { count: 0, operations: 0, failures: 0, latency: createHistogram() };
  readonly #keys: KeyAdmin;
  readonly #leases: LeaseAdmin;
  readonly #pools: PoolAdmin;
  readonly #importer: Importer;
  #timer: NodeJS.Timeout | undefined;
  #timerAt = Infinity;
  #pendingChanges: Changes | undefined;

  private constructor(options: SqliteStoreOptions, loaded: Awaited<ReturnType<typeof restore>>, replays: Replays) {
    this.#options = options;
    this.#clock = options.clock;
    this.#engine = loaded.engine;
    this.#writer = loaded.writer;
    this.#replays = replays;
    this.#healthLog = new HealthLog(options.journal.storeId, options.journal.boot, loaded.restored);
    this.#committer = new Committer({
      journal: options.journal,
      engine: loaded.engine,
      now: () => this.#clock.now(),
      rowsOf: (changes) => this.#rowsOf(changes),
      stored: () => this.#stored(),
      measured: (ms, operations, ok) => this.#measured(ms, operations, ok),
      failing: (failing, cause) => {
        if (failing) this.#writer.putBack();
        options.onFailing?.(failing, cause);
      },
    });
    this.#finder = new LeaseFinder(loaded.engine, options.leaseIds, this.#clock, loaded.restored);
    let { lastOrdinal } = loaded.restored;
    const context: AdminContext = {
      engine: loaded.engine,
      committer: this.#committer,
      replays,
      healthLog: this.#healthLog,
      vault: options.vault,
      secrets: options.secrets,
      journal: options.journal,
      clock: this.#clock,
      fingerprints: loaded.restored.fingerprints,
      claimOrdinals: (count) => {
        lastOrdinal += count;
        return lastOrdinal - count + 1;
      },
      statsOf: (pool) => this.#poolStats(pool, false),
    };
    this.#keys = new KeyAdmin(context);
    this.#leases = new LeaseAdmin(context);
    this.#pools = new PoolAdmin(context);
    this.#importer = new Importer(context, this.#keys);
  }

  /** Goes on where the journal's last owner stopped. */
  static async open(options: SqliteStoreOptions): Promise<SqliteStore> {
    const { clock, journal } = options;
    const replays = new Replays(() => clock.now() + clock.wallOffset());
    const at = { now: clock.now(), wallOffset: clock.wallOffset() };
    const loaded = await restore(journal, at, replays, (engine) => new RowWriter(engine));
    await checkMasterKey(options, loaded.restored.meta.master_key_check);
    const store = new SqliteStore(options, loaded, replays);
    await store.#importer.start();
    options.secrets.resize(loaded.engine.keys.size);
    store.#wake();
    return store;
  }

  async acquire(request: AcquireOrder, signal?: AbortSignal): Promise<LeaseGrant> {
    if (request.idempotency === undefined) return this.#acquire(request, signal);
    return this.#replays.once(
      request.idempotency,
      () => this.#acquire(request, signal),
      async (answer) => this.#again(JSON.parse(answer) as Given),
    );
  }

  async acquireBatches(request: BatchOrder, signal?: AbortSignal): Promise<BatchGrant> {
    return this.#replays.once(
      request.idempotency,
      async () => {
        const { granted, waitedMs } = await this.#lease(request.pool, batchOrder(request), request.maxWaitMs, signal);
        const given = granted.batches.map((batch) => batch.map((lease) => this.#given(lease)));
        this.#replays.remember(request.idempotency, given);
        const batches = await this.#grants(given, false, waitedMs);
        return batchGrant(request, batches);
      },
      async (answer) => {
        const batches = await this.#grants(JSON.parse(answer) as Given[][], true, 0);
        return batchGrant(request, batches);
      },
    );
  }

  async report(report: Report): Promise<ReportOutcome> {
    if (report.idempotency === undefined) return this.#report(report);
    return this.#replays.once(
      report.idempotency,
      () => this.#report(report),
      (answer) => ({ ...(JSON.parse(answer) as ReportOutcome), duplicate: true }),
    );
  }

  async renew(order: RenewOrder): Promise<Renewal> {
    const now = this.#advance();
    const lease = this.#finder.find(order.leaseId, order.caller, now);
    if (lease === 'ended') throw new BalancerError('LEASE_EXPIRED', 'the lease was reported; acquire a new one');
    const undo = renew(this.#engine, lease, order.leaseTtlMs, now);
    this.#arm();
    await this.#committer.confirm(undo);
    const ttlMs = Math.max(0, lease.expireTime - this.#clock.now());
    return { ttlMs, expireTime: lease.expireTime + this.#clock.wallOffset() };
  }

  async endSession(sessionId: string): Promise<void> {
    const now = this.#advance();
    const leases = this.#engine.sessions.get(sessionId);
    if (leases === undefined) return;
    const pools = new Set<Pool>();
    for (const lease of [...leases]) {
      this.#engine.suspend(lease, LeaseState.LEFT, now);
      pools.add(lease.key.pool);
    }
    for (const pool of pools) serveWaiting(this.#engine, pool, now);
    await this.#committer.confirm();
  }

  async stats(query: { pools: readonly string[]; includeModels: boolean }): Promise<StoreStats> {
    this.#advance();
    const named = new Set(query.pools.map((name) => this.#engine.pool(name)));
    const isNamed = (pool: Pool): boolean => named.size === 0 || named.has(pool);
    const pools = [...this.#engine.pools.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
    const stats = new Map(
      pools.map((pool) => [pool, this.#poolStats(pool, query.includeModels && isNamed(pool))] as const),
    );
    const { secrets, journal } = this.#options;
    return {
      total: totalStats([...stats.values()], this.#totalLatencies),
      pools: pools.filter(isNamed).map((pool) => stats.get(pool)!),
      databaseBytes: await journal.sizeBytes(),
      cache: { size: secrets.size, capacity: secrets.capacity, hits: secrets.hits, misses: secrets.misses },
      keysBytes: this.#keysBytes(),
      commits: { ...this.#commits, latency: latencyView(this.#commits.latency) },
    };
  }

  importKeys(order: ImportOrder): Promise<ImportOutcome> {
    return this.#importer.import(order);
  }

  createKey(order: CreateKeyOrder): Promise<Replayable<KeyView>> {
    return this.#keys.create(order);
  }

  updateKey(order: UpdateKeyOrder): Promise<Replayable<KeyView>> {
    return this.#keys.update(order);
  }

  deleteKey(order: { keyId: string; etag: string; allowMissing: boolean }): Promise<void> {
    return this.#keys.delete(order);
  }

  resetKey(id: string): Promise<KeyView> {
    return this.#keys.reset(id);
  }

  async getKey(id: string): Promise<KeyView> {
    this.#advance();
    return this.#keys.get(id);
  }

  async listKeys(query: KeyQuery): Promise<Page<KeyView> & { totalSize: number }> {
    this.#advance();
    return this.#keys.list(query);
  }

  async listLeases(query: { pool: string; keyId: string; after: string; limit: number }): Promise<Page<LeaseView>> {
    this.#advance();
    return this.#leases.list(query);
  }

  async revokeLease(ref: string): Promise<void> {
    this.#advance();
    await this.#leases.revoke(ref);
  }

  listImports(query: { pool: string; after: string; limit: number }): Promise<Page<ImportView>> {
    return this.#importer.history(query);
  }

  async listPools(query: { after: string; limit: number }): Promise<Page<PoolView>> {
    this.#advance();
    return this.#pools.list(query);
  }

  createPool(order: { pool: PoolSettings; idempotency: Idempotency | undefined }): Promise<PoolView> {
    return this.#pools.create(order);
  }

  updatePool(order: { pool: string; etag: string; change: Partial<Omit<PoolSettings, 'pool'>> }): Promise<PoolView> {
    return this.#pools.update(order);
  }

  deletePool(order: { pool: string; etag: string }): Promise<void> {
    return this.#pools.delete(order);
  }

  async position(): Promise<{ storeId: string; revision: number }> {
    return this.#healthLog.position;
  }

  subscribe(listener: (changes: readonly HealthChange[]) => void): () => void {
    return this.#healthLog.subscribe(listener);
  }

  async healthPage(query: {
    pools: readonly string[];
    sinceRevision: number;
    after: string;
    limit: number;
  }): Promise<Page<KeyView>> {
    this.#advance();
    return this.#keys.healthPage(query);
  }

  async removedSince(revision: number): Promise<readonly RemovedKey[] | undefined> {
    return this.#healthLog.removedSince(revision);
  }

  drain(): void {
    this.#engine.draining = true;
    for (const pool of this.#engine.pools.values()) {
      for (const lane of pool.lanes.values()) {
        for (let waiter = lane.waiting.first(); waiter !== undefined; waiter = lane.waiting.first()) {
          const waiting = waiter as Parameters<typeof giveUp>[1];
          giveUp(this.#engine, waiting);
          waiting.refused(draining());
        }
      }
    }
  }

  async close(): Promise<void> {
    this.drain();
    clearTimeout(this.#timer);
    await this.#committer.flush();
    this.#committer.close();
    if (this.#engine.changes.empty && !this.#committer.failing) {
      // Where that fails, the next start takes it for a crash: watchers get a new snapshot, nothing else.
      await this.#options.journal.commit(this.#healthLog.cleanStop).catch(() => {});
    }
    await this.#options.journal.close();
  }

  async #acquire(request: AcquireOrder, signal: AbortSignal | undefined): Promise<LeaseGrant> {
    const order = singleOrder(request);
    const { granted, waitedMs } = await this.#lease(request.pool, order, request.maxWaitMs, signal);
    const lease = granted.batches[0]![0]!;
    const given = this.#given(lease);
    if (request.idempotency !== undefined) this.#replays.remember(request.idempotency, given);
    return this.#grant(lease, given[2], granted.affinityHit, waitedMs, false);
  }

  /** Leases at once or after waiting. Whoever waits is served by whatever frees a key. */
  async #lease(
    poolName: string,
    order: Order,
    maxWaitMs: number,
    signal: AbortSignal | undefined,
  ): Promise<{ granted: Granted; waitedMs: number }> {
    const now = this.#advance();
    if (this.#engine.draining) throw draining();
    if (this.#committer.failing) throw storeUnavailable();
    const pool = this.#engine.pool(poolName);
    let granted = acquireNow(this.#engine, pool, order, now);
    let waitedMs = 0;
    try {
      if (granted === undefined) {
        if (maxWaitMs <= 0) throw shortage(this.#engine, pool, pool.laneFor(order.model, now), order, now);
        granted = await this.#wait(pool, order, now + maxWaitMs, now, signal);
        waitedMs = this.#clock.now() - now;
      }
    } catch (error) {
      pool.acquiresRejected++;
      this.#engine.changes.poolUsage.add(pool);
      this.#committer.touch();
      throw error;
    }
    this.#arm();
    this.#committer.touch();
    const elapsed = Math.max(1, Math.round((this.#clock.now() - now) * 1000));
    this.#latencyOf(pool).acquire.record(elapsed);
    this.#totalLatencies.acquire.record(elapsed);
    return { granted, waitedMs };
  }

  #wait(pool: Pool, order: Order, deadline: number, now: number, signal: AbortSignal | undefined): Promise<Granted> {
    return new Promise((resolve, reject) => {
      const gone = (): void => {
        giveUp(this.#engine, waiter);
        this.#advance();
        reject(new BalancerError('OPERATION_CANCELLED', 'the caller gave up while the acquire waited'));
      };
      if (signal?.aborted) {
        reject(new BalancerError('OPERATION_CANCELLED', 'the caller was gone before the acquire could wait'));
        return;
      }
      const waiter = wait(this.#engine, pool, order, deadline, now, {
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
      this.#arm();
    });
  }

  async #report(report: Report): Promise<ReportOutcome> {
    const now = this.#advance();
    const lease = this.#finder.find(report.leaseId, report.caller, now);
    if (lease === 'ended') {
      const key = this.#finder.keyOf(report.leaseId);
      // Only once the report that ended it is stored is it true that nothing more is to be done.
      await this.#committer.confirm();
      const view = keyView(key, this.#clock.wallOffset());
      return { errorClass: 0, retryAdvice: undefined, key: view, duplicate: true, late: false };
    }
    const { key } = lease;
    const settlement = settle(this.#engine, lease, { ...report, outcome: report.outcome }, now);
    serveWaiting(this.#engine, key.pool, now);
    this.#arm();
    if (report.latencyMs !== undefined && report.outcome !== Outcome.UNUSED) {
      const micros = Math.max(1, Math.round(report.latencyMs * 1000));
      this.#latencyOf(key.pool).provider.record(micros);
      this.#totalLatencies.provider.record(micros);
    }
    const { advice } = settlement;
    const outcome: ReportOutcome = {
      errorClass: settlement.errorClass,
      retryAdvice: advice && {
        retry: advice.retry,
        sameKey: advice.sameKey,
        delayMs: advice.delayMs,
        excludeKeyIds: advice.excludeKey ? [keyId(key.ordinal)] : [],
        excludeProjects: advice.excludeProject && key.settings.project !== '' ? [key.settings.project] : [],
      },
      key: keyView(key, this.#clock.wallOffset()),
      duplicate: false,
      late: settlement.late,
    };
    this.#replays.remember(report.idempotency, outcome);
    await this.#committer.confirm((at) => {
      this.#replays.forget(report.idempotency);
      settlement.undo(at);
    });
    return outcome;
  }

  async #grants(batches: readonly Given[][], replayed: boolean, waitedMs: number): Promise<LeaseGrant[][]> {
    const grants: LeaseGrant[][] = [];
    const active = batches.map((batch) => batch.map((given) => this.#active(given)));
    for (const [index, batch] of active.entries()) {
      const leases: LeaseGrant[] = [];
      for (const lease of batch) {
        const [, , expiry] = batches[index]![leases.length]!;
        leases.push(await this.#grant(lease, expiry, false, waitedMs, replayed));
        // Thousands of leases are made in slices, so that nobody else waits for all of them.
        if (leases.length % 250 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      grants.push(leases);
    }
    return grants;
  }

  async #grant(
    lease: Lease,
    firstExpiry: number,
    affinityHit: boolean,
    waitedMs: number,
    replayed: boolean,
  ): Promise<LeaseGrant> {
    const { key } = lease;
    const apiKey = this.#options.secrets.get(key.ordinal) ?? (await this.#readSecret(key));
    const wallOffset = this.#clock.wallOffset();
    const expireTime = lease.expireTime + wallOffset;
    return {
      leaseId: this.#options.leaseIds.sign({
        boot: lease.boot,
        seq: lease.seq,
        ordinal: key.ordinal,
        expireTime: firstExpiry,
        caller: lease.caller,
        model: lease.model,
      }),
      keyId: keyId(key.ordinal),
      apiKey,
      pool: key.pool.name,
      model: lease.model,
      project: key.settings.project,
      ttlMs: Math.max(0, lease.expireTime - this.#clock.now()),
      expireTime,
      affinityHit,
      labels: key.settings.labels,
      waitedMs,
      replayed,
    };
  }

  async #readSecret(key: Key): Promise<string> {
    const sealed = await this.#options.journal.readSecret(key.ordinal);
    if (sealed === undefined)
      throw new BalancerError('KEY_NOT_FOUND', `key ${keyId(key.ordinal)} was deleted meanwhile`);
    const apiKey = this.#options.vault.open(key.ordinal, sealed);
    this.#options.secrets.set(key.ordinal, apiKey);
    return apiKey;
  }

  #again(given: Given): Promise<LeaseGrant> {
    return this.#grant(this.#active(given), given[2], false, 0, true);
  }

  #given(lease: Lease): Given {
    return [lease.boot, lease.seq, Math.floor(lease.expireTime + this.#clock.wallOffset())];
  }

  #active([boot, seq]: Given): Lease {
    this.#advance();
    const lease = this.#engine.leases.get(boot)?.get(seq);
    if (lease?.state === LeaseState.ACTIVE) return lease;
    throw new BalancerError(
      'LEASE_EXPIRED',
      `lease ${leaseRef({ boot, seq })} of the first call is over; use a new request_id`,
    );
  }

  #advance(): number {
    const now = this.#clock.now();
    this.#engine.advance(now);
    return now;
  }

  /** Wakes up when something falls due, as a lease or a rest that ends lets a waiting acquire go on. */
  #arm(): void {
    const next = this.#engine.nextDeadline;
    if (next >= this.#timerAt || next === Infinity) return;
    clearTimeout(this.#timer);
    this.#timerAt = next;
    const delay = Math.min(Math.max(0, next - this.#clock.now()), 2 ** 30);
    this.#timer = setTimeout(() => this.#wake(), Math.ceil(delay));
    this.#timer.unref();
  }

  #wake(): void {
    this.#timerAt = Infinity;
    this.#advance();
    if (!this.#engine.changes.empty) this.#committer.touch();
    this.#arm();
  }

  #rowsOf(changes: Changes): Rows {
    const { boot } = this.#options.journal;
    const wallOffset = this.#clock.wallOffset();
    const wallNow = this.#clock.now() + wallOffset;
    this.#pendingChanges = changes;
    this.#healthLog.prepare(changes, this.#engine, wallNow, (key) => keyView(key, wallOffset));
    const rows = this.#writer.rowsOf(changes, wallOffset);
    rows.boots = [{ boot, startTime: this.#finder.startTime, watermark: this.#engine.lastSeq }];
    rows.revision = this.#healthLog.revision;
    const reclaimed = this.#finder.unwritten();
    if (reclaimed.length > 0) rows.reclaimed = reclaimed;
    if (this.#replays.unwritten) rows.replays = this.#replays.rows();
    const prune = this.#finder.prune(wallNow);
    if (prune !== undefined) {
      rows.prune = { ...prune, removedKeys: this.#healthLog.horizon };
      rows.meta = { removed_horizon: String(this.#healthLog.horizon) };
    }
    this.#pendingReplays = rows.replays ?? [];
    return rows;
  }

  #pendingReplays: NonNullable<Rows['replays']> = [];

  #stored(): void {
    this.#writer.stored(this.#pendingChanges!);
    this.#finder.written();
    this.#replays.written(this.#pendingReplays);
    this.#healthLog.publish();
  }

  #measured(ms: number, operations: number, ok: boolean): void {
    if (!ok) {
      this.#commits.failures++;
      return;
    }
    this.#commits.count++;
    this.#commits.operations += operations;
    this.#commits.latency.record(Math.max(1, Math.round(ms * 1000)));
  }

  #poolStats(pool: Pool, includeModels: boolean): ReturnType<typeof poolStats> {
    return poolStats(pool, this.#latencyOf(pool), this.#clock.now(), this.#clock.wallOffset(), includeModels);
  }

  #latencyOf(pool: Pool): PoolLatencies {
    let latencies = this.#latencies.get(pool);
    if (latencies === undefined) {
      latencies = newLatencies();
      this.#latencies.set(pool, latencies);
    }
    return latencies;
  }

  /** Estimated: objects and strings of a key, and its places in the typed arrays of its pool's lanes. */
  #keysBytes(): number {
    const perKey = 1_200;
    const perPlace = 8 + 8 + 8 + 4 + 1 + 4;
    let bytes = this.#options.secrets.size * 150;
    for (const pool of this.#engine.pools.values()) bytes += pool.keyCount * (perKey + pool.lanes.size * perPlace);
    return bytes;
  }
}

/**
 * What is remembered of a lease that was given, so that a repeat gets the same lease id: boot, number, and when it was to expire
 * then, in wall-clock milliseconds. Renewals and the wall clock's own moves change what the lease itself says of that.
 */
type Given = [boot: number, seq: number, firstExpiry: number];

/** Another master key than the one that sealed the keys is noticed here and not at the first lease. */
async function checkMasterKey({ vault, journal }: SqliteStoreOptions, stored: string | undefined): Promise<void> {
  const check = vault.check();
  if (stored === undefined) await journal.commit({ meta: { master_key_check: check } });
  else if (stored !== check) {
    throw new MasterKeyError('the master key is not the one that the stored keys were sealed with');
  }
}

function batchGrant(request: BatchOrder, batches: LeaseGrant[][]): BatchGrant {
  return {
    batches: batches.map((leases, index) => ({ requestedSize: request.batchSizes[index]!, leases })),
    replayed: false,
  };
}

function newLatencies(): PoolLatencies {
  return { acquire: createHistogram(), provider: createHistogram() };
}

function draining(): BalancerError {
  return new BalancerError('DRAINING', 'this server is shutting down; try another, or again once it is back');
}

function singleOrder(request: AcquireOrder): Order {
  return {
    caller: request.caller,
    model: request.model,
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
