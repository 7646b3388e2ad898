import { createHistogram } from 'node:perf_hooks';
import type { Clock } from '../../engine/clock.ts';
import type { Engine } from '../../engine/engine.ts';
import type { Pool } from '../../engine/pool.ts';
import type { LeaseIds } from '../lease-id.ts';
import { MasterKeyError } from '../master-key.ts';
import type { Probe } from '../probe.ts';
import type { SecretCache } from '../secret-cache.ts';
import type {
  AcquireOrder,
  BatchGrant,
  BatchOrder,
  Constraints,
  CreateKeyOrder,
  HealthChange,
  Idempotency,
  ImportOrder,
  ImportOutcome,
  ImportView,
  KeyFigures,
  KeyQuery,
  KeyTestOrder,
  KeyTestView,
  KeyView,
  LeaseGrant,
  LeaseView,
  Page,
  PoolCounters,
  PoolSettings,
  PoolStatsView,
  PoolView,
  QuotaOrder,
  QuotaView,
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
import { Alarm } from './alarm.ts';
import { Committer } from './committer.ts';
import { cooldownTotals, quotaTotals } from './constraints.ts';
import { HealthLog } from './health-log.ts';
import { Importer } from './importer.ts';
import type { Journal } from './journal.ts';
import { KeyAdmin } from './key-admin.ts';
import { Latencies } from './latencies.ts';
import { LeaseAdmin } from './lease-admin.ts';
import type { LeaseContext } from './lease-context.ts';
import { LeaseDesk } from './lease-desk.ts';
import { LeaseFinder } from './lease-finder.ts';
import { LeaseGrants } from './lease-grants.ts';
import { countKeys, modelUsages } from './model-stats.ts';
import { PoolAdmin } from './pool-admin.ts';
import { QuotaAdmin } from './quota-admin.ts';
import { Replays } from './replays.ts';
import { ReportDesk } from './report-desk.ts';
import { restore } from './restore.ts';
import { RowWriter } from './row-writer.ts';
import { StoredChanges } from './stored-changes.ts';
import { VerificationDesk } from './verification-desk.ts';
import { callerViews, latencyView, poolStats, totalStats } from './views.ts';

export interface SqliteStoreOptions {
  journal: Journal;
  vault: Vault;
  leaseIds: LeaseIds;
  secrets: SecretCache;
  clock: Clock;
  /** 0 to less than 1; ends of cooldowns are spread by it. Default: Math.random. */
  random?: () => number;
  /** Whether Gemini is asked before a suspected key is disabled. Without `probe` it is not asked yet. */
  verify: boolean;
  probe: Probe | undefined;
  /** Told when the store stops taking writes, and when it resumes. */
  onFailing?: (failing: boolean, cause: Error | undefined) => void;
}

/**
 * A store that decides in memory (the engine) and remembers in a journal that one process owns. Acquires are answered at once
 * and written right after; everything else is answered when its group commit is done.
 *
 * It is the front of its rooms: LeaseDesk gives leases, ReportDesk takes them back, KeyAdmin, LeaseAdmin, PoolAdmin and Importer
 * manage, Committer writes, HealthLog tells.
 */
export class SqliteStore implements Store {
  readonly #engine: Engine;
  readonly #options: SqliteStoreOptions;
  readonly #alarm: Alarm;
  readonly #committer: Committer;
  readonly #healthLog: HealthLog;
  readonly #latencies = new Latencies();
  readonly #commits = { count: 0, operations: 0, failures: 0, latency: createHistogram() };
  readonly #leaseDesk: LeaseDesk;
  readonly #reportDesk: ReportDesk;
  readonly #keys: KeyAdmin;
  readonly #leases: LeaseAdmin;
  readonly #pools: PoolAdmin;
  readonly #importer: Importer;
  readonly #quotas: QuotaAdmin;
  readonly #verification: VerificationDesk;

  private constructor(options: SqliteStoreOptions, loaded: Awaited<ReturnType<typeof restore>>, replays: Replays) {
    const { journal, clock } = options;
    const { engine, writer, restored } = loaded;
    this.#options = options;
    this.#engine = engine;
    this.#healthLog = new HealthLog(journal.storeId, journal.boot, restored);
    const finder = new LeaseFinder(engine, options.leaseIds, clock, restored);
    const healthLog = this.#healthLog;
    const changes = new StoredChanges({ engine, clock, boot: journal.boot, writer, finder, replays, healthLog });
    this.#committer = new Committer({
      journal,
      engine,
      now: () => clock.now(),
      rowsOf: (touched) => changes.rowsOf(touched),
      stored: () => changes.stored(),
      measured: (ms, operations, ok) => this.#measured(ms, operations, ok),
      failing: (failing, cause) => {
        if (failing) writer.putBack();
        options.onFailing?.(failing, cause);
      },
    });
    this.#alarm = new Alarm(engine, clock, () => {
      if (!engine.changes.empty) this.#committer.touch();
      this.#verification.poke();
    });
    const leasing: LeaseContext = {
      ...options,
      engine,
      alarm: this.#alarm,
      committer: this.#committer,
      finder,
      latencies: this.#latencies,
      replays,
    };
    this.#leaseDesk = new LeaseDesk(leasing);
    this.#reportDesk = new ReportDesk(leasing);
    this.#verification = new VerificationDesk(leasing, new LeaseGrants(leasing), options.probe);
    let { lastOrdinal } = restored;
    const managing: AdminContext = {
      ...options,
      engine,
      committer: this.#committer,
      replays,
      healthLog,
      fingerprints: restored.fingerprints,
      claimOrdinals: (count) => {
        lastOrdinal += count;
        return lastOrdinal - count + 1;
      },
      statsOf: (pool) => this.#poolStats(pool),
    };
    this.#keys = new KeyAdmin(managing);
    this.#leases = new LeaseAdmin(managing);
    this.#pools = new PoolAdmin(managing);
    this.#importer = new Importer(managing, this.#keys);
    this.#quotas = new QuotaAdmin(managing);
  }

  /** Goes on where the journal's last owner stopped. */
  static async open(options: SqliteStoreOptions): Promise<SqliteStore> {
    const { clock, journal } = options;
    const replays = new Replays(() => clock.now() + clock.wallOffset());
    const at = { now: clock.now(), wallOffset: clock.wallOffset() };
    const { verify, random = Math.random } = options;
    const loaded = await restore(journal, at, { random, verify }, replays, (engine) => new RowWriter(engine));
    await checkMasterKey(options, loaded.restored.meta.master_key_check);
    const store = new SqliteStore(options, loaded, replays);
    await store.#importer.start();
    options.secrets.resize(loaded.engine.keys.size);
    store.#alarm.ring();
    return store;
  }

  acquire(request: AcquireOrder, signal?: AbortSignal): Promise<LeaseGrant> {
    return this.#leaseDesk.acquire(request, signal);
  }

  acquireBatches(request: BatchOrder, signal?: AbortSignal): Promise<BatchGrant> {
    return this.#leaseDesk.acquireBatches(request, signal);
  }

  async report(report: Report): Promise<ReportOutcome> {
    const outcome = await this.#reportDesk.report(report);
    this.#verification.poke();
    return outcome;
  }

  renew(order: RenewOrder): Promise<Renewal> {
    return this.#reportDesk.renew(order);
  }

  endSession(sessionId: string): Promise<void> {
    return this.#reportDesk.endSession(sessionId);
  }

  async stats(query: { pools: readonly string[]; includeModels: boolean }): Promise<StoreStats> {
    this.#alarm.advance();
    const named = new Set(query.pools.map((name) => this.#engine.pool(name)));
    const isNamed = (pool: Pool): boolean => named.size === 0 || named.has(pool);
    const pools = this.#poolsByName();
    const stats = new Map(pools.map((pool) => [pool, this.#poolStats(pool)] as const));
    const total = totalStats([...stats.values()], this.#latencies.total);
    const { secrets, journal, clock } = this.#options;
    if (query.includeModels) {
      const counted = pools.filter(isNamed);
      // All usage of one moment, before keys are counted, which takes a while.
      for (const pool of counted) stats.get(pool)!.models = modelUsages(pool);
      for (const pool of counted) await countKeys(this.#engine, pool, stats.get(pool)!.models, clock);
    }
    return {
      total,
      pools: pools.filter(isNamed).map((pool) => stats.get(pool)!),
      callers: callerViews(this.#engine.callers.values()),
      databaseBytes: await journal.sizeBytes(),
      cache: { size: secrets.size, capacity: secrets.capacity, hits: secrets.hits, misses: secrets.misses },
      keysBytes: this.#keysBytes(),
      commits: { ...this.#commits, latency: latencyView(this.#commits.latency) },
    };
  }

  async counters(): Promise<PoolCounters[]> {
    this.#alarm.advance();
    return this.#poolsByName().map(({ name, counters }) => ({ ...structuredClone(counters), pool: name }));
  }

  async importKeys(order: ImportOrder): Promise<ImportOutcome> {
    const outcome = await this.#importer.import(order);
    this.#verification.poke();
    return outcome;
  }

  async constraints(): Promise<Constraints> {
    this.#alarm.advance();
    const { clock } = this.#options;
    const cooldowns = cooldownTotals(this.#engine, clock.now());
    return { cooldowns, quotas: await quotaTotals(this.#engine, clock) };
  }

  async keyFigures(limit: number): Promise<{ keys: KeyFigures[]; total: number }> {
    this.#alarm.advance();
    return { keys: this.#keys.figures(limit), total: this.#engine.keys.size };
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
    this.#alarm.advance();
    return this.#keys.get(id);
  }

  testKey(order: KeyTestOrder): Promise<KeyTestView> {
    return this.#verification.test(order);
  }

  async listQuotas(query: { project: string; after: string; limit: number }): Promise<Page<QuotaView>> {
    this.#alarm.advance();
    return this.#quotas.list(query);
  }

  setQuota(order: QuotaOrder): Promise<QuotaView> {
    return this.#quotas.set(order);
  }

  deleteQuota(order: { project: string; model: string }): Promise<void> {
    return this.#quotas.delete(order);
  }

  async listKeys(query: KeyQuery): Promise<Page<KeyView> & { totalSize: number }> {
    this.#alarm.advance();
    return this.#keys.list(query);
  }

  async listLeases(query: { pool: string; keyId: string; after: string; limit: number }): Promise<Page<LeaseView>> {
    this.#alarm.advance();
    return this.#leases.list(query);
  }

  async revokeLease(ref: string): Promise<void> {
    this.#alarm.advance();
    await this.#leases.revoke(ref);
  }

  listImports(query: { pool: string; after: string; limit: number }): Promise<Page<ImportView>> {
    return this.#importer.history(query);
  }

  async listPools(query: { after: string; limit: number }): Promise<Page<PoolView>> {
    this.#alarm.advance();
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
    this.#alarm.advance();
    return this.#keys.healthPage(query);
  }

  async removedSince(revision: number): Promise<readonly RemovedKey[] | undefined> {
    return this.#healthLog.removedSince(revision);
  }

  drain(): void {
    this.#engine.draining = true;
    this.#leaseDesk.dismiss();
  }

  async close(): Promise<void> {
    this.drain();
    await this.#verification.close();
    this.#alarm.close();
    await this.#committer.flush();
    this.#committer.close();
    if (this.#engine.changes.empty && !this.#committer.failing) {
      // Where that fails, the next start takes it for a crash: watchers get a new snapshot, nothing else.
      await this.#options.journal.commit(this.#healthLog.cleanStop).catch(() => {});
    }
    await this.#options.journal.close();
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

  #poolsByName(): Pool[] {
    return [...this.#engine.pools.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  #poolStats(pool: Pool): PoolStatsView {
    return poolStats(pool, this.#latencies.of(pool));
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

/** Another master key than the one that sealed the keys is noticed here and not at the first lease. */
async function checkMasterKey({ vault, journal }: SqliteStoreOptions, stored: string | undefined): Promise<void> {
  const check = vault.check();
  if (stored === undefined) await journal.commit({ meta: { master_key_check: check } });
  else if (stored !== check) {
    throw new MasterKeyError('the master key is not the one that the stored keys were sealed with');
  }
}
