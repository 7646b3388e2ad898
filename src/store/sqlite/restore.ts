import { Engine, type EngineOptions } from '../../engine/engine.ts';
import type { Key } from '../../engine/key.ts';
import type { Lane } from '../../engine/lane.ts';
import { type Lease, LeaseState } from '../../engine/lease.ts';
import type { Pool } from '../../engine/pool.ts';
import type { Moment } from '../../engine/quota/moment.ts';
import { DEFAULT_POOL } from '../../engine/settings.ts';
import { noUsage } from '../../engine/usage.ts';
import type { BootRow, HealthRow, Journal, KeyRow, LaneRow, Rows, UsageRow } from './journal.ts';
import type { Replays } from './replays.ts';
import { JudgedLoading } from './restore-judged.ts';
import type { RowWriter } from './row-writer.ts';

/** What an earlier run left, beside what went into the engine. */
export interface Restored {
  meta: Record<string, string>;
  revision: number;
  boots: Map<number, BootRow>;
  reclaimed: Set<string>;
  removedKeys: { ordinal: number; pool: string; revision: number }[];
  /** Fingerprint to key. */
  fingerprints: Map<string, Key>;
  lastOrdinal: number;
}

/** Fills a new engine with what the journal holds, so that it goes on where the last run stopped. */
export async function restore(
  journal: Journal,
  clock: Moment,
  options: Pick<EngineOptions, 'random' | 'verify'>,
  replays: Replays,
  makeWriter: (engine: Engine) => RowWriter,
): Promise<{ engine: Engine; writer: RowWriter; restored: Restored }> {
  const engine = new Engine(journal.boot, { ...options, wallOffset: clock.wallOffset });
  const writer = makeWriter(engine);
  const restored: Restored = {
    meta: {},
    revision: 0,
    boots: new Map(),
    reclaimed: new Set(),
    removedKeys: [],
    fingerprints: new Map(),
    lastOrdinal: 0,
  };
  const loading = new Loading(engine, writer, clock, restored);
  for await (const rows of journal.load()) {
    Object.assign(restored.meta, rows.meta);
    restored.revision = Math.max(restored.revision, rows.revision ?? 0);
    for (const boot of rows.boots ?? []) restored.boots.set(boot.boot, boot);
    for (const { boot, seq } of rows.reclaimed ?? []) restored.reclaimed.add(`${boot}.${seq}`);
    for (const row of rows.replays ?? []) replays.restore(row);
    restored.removedKeys.push(...(rows.removedKeys ?? []));
    loading.take(rows);
  }
  loading.finish();
  for (const { ordinal } of restored.removedKeys) {
    restored.lastOrdinal = Math.max(restored.lastOrdinal, ordinal);
  }
  return { engine, writer, restored };
}

/** Rows come in parts; what needs several kinds of them waits here. */
class Loading {
  readonly #engine: Engine;
  readonly #clock: Moment;
  readonly #restored: Restored;
  readonly #judged: JudgedLoading;
  readonly #keys: KeyRow[] = [];
  readonly #health = new Map<number, HealthRow>();
  readonly #usage = new Map<number, UsageRow>();
  readonly #pools: Rows[] = [];
  readonly #lanes: LaneRow[] = [];
  readonly #current: { pool: Pool; lane: Lane; current: string }[] = [];
  readonly #rest: Rows[] = [];

  constructor(engine: Engine, writer: RowWriter, clock: Moment, restored: Restored) {
    this.#engine = engine;
    this.#judged = new JudgedLoading(engine, writer, clock);
    this.#clock = clock;
    this.#restored = restored;
  }

  take(rows: Rows): void {
    this.#judged.take(rows);
    for (const row of rows.keys ?? []) this.#keys.push(row);
    for (const row of rows.health ?? []) this.#health.set(row.ordinal, row);
    for (const row of rows.usage ?? []) this.#usage.set(row.ordinal, row);
    for (const row of rows.lanes ?? []) this.#lanes.push(row);
    if (rows.pools || rows.poolUsage || rows.modelUsage) this.#pools.push(rows);
    if (rows.turns || rows.leases || rows.affinities) this.#rest.push(rows);
  }

  finish(): void {
    this.#addPools();
    this.#addKeys();
    this.#judged.restoreQuotas();
    for (const rows of this.#rest) this.#restoreTurns(rows);
    for (const pool of this.#engine.pools.values()) {
      for (const key of pool.keys) if (key !== undefined) pool.place(key, this.#clock.now);
    }
    for (const { pool, lane, current } of this.#current) {
      const [kind = '', ...owner] = current.split(' ');
      const project = this.#judged.projectOf(kind, owner.join(' '));
      lane.current = project?.places.find((place) => place.pool === pool)?.group ?? -1;
    }
    for (const rows of this.#rest) {
      this.#restoreLeases(rows);
      for (const row of (rows.affinities ?? []).toSorted((a, b) => a.time - b.time)) {
        const key = this.#engine.keys.get(row.ordinal);
        if (key !== undefined) this.#engine.pools.get(row.pool)?.affinities.set(row.affinityKey, key);
      }
    }
    this.#judged.resumeTrials();
    // Sessions do not outlive the process.
    for (const leases of [...this.#engine.sessions.values()]) {
      for (const lease of [...leases]) this.#engine.suspend(lease, LeaseState.LEFT, this.#clock.now);
    }
    // Nothing of this is news.
    this.#engine.changes.announced.clear();
    this.#engine.changes.shifts.clear();
  }

  #addPools(): void {
    const rows = this.#pools;
    for (const { lane } of this.#lanes) this.#engine.reserveLanes(lane);
    const general = new Map(this.#lanes.filter((lane) => lane.model === '').map((lane) => [lane.pool, lane]));
    for (const row of rows.flatMap((each) => each.pools ?? [])) {
      const { version, ...settings } = row;
      const lane = general.get(row.pool);
      const pool = this.#engine.addPool(
        { ...settings, selection: settings.selection as 0 | 1 | 2 },
        lane && { id: lane.lane },
      );
      pool.version = version;
    }
    if (!this.#engine.pools.has(DEFAULT_POOL.pool)) {
      const lane = general.get(DEFAULT_POOL.pool);
      this.#engine.addPool(DEFAULT_POOL, lane && { id: lane.lane });
    }
    for (const { pool: name, acquiresRejected, failuresByClass, ...counts } of rows.flatMap(
      (each) => each.poolUsage ?? [],
    )) {
      const pool = this.#engine.pools.get(name);
      if (pool === undefined) continue;
      Object.assign(pool.usage, counts);
      Object.assign(pool.failuresByClass, failuresByClass);
      pool.acquiresRejected = acquiresRejected;
    }
    for (const { pool: name, model, ...counts } of rows.flatMap((each) => each.modelUsage ?? [])) {
      const pool = this.#engine.pools.get(name);
      if (pool !== undefined) Object.assign(pool.usageOf(model).counts, counts);
    }
    for (const row of this.#lanes) {
      const pool = this.#engine.pools.get(row.pool);
      if (pool === undefined) continue;
      const lane = row.model === '' ? pool.general : this.#engine.lane(row.lane, row.model, pool.ordinals);
      lane.virtualTimes.set(row.virtualTimes);
      lane.picks = row.picks;
      this.#current.push({ pool, lane, current: row.current });
      lane.lastUsed = this.#clock.now;
      pool.lanes.set(row.model, lane);
    }
  }

  #addKeys(): void {
    const { now } = this.#clock;
    for (const row of this.#keys.sort((a, b) => a.ordinal - b.ordinal)) {
      const pool = this.#engine.pools.get(row.pool);
      if (pool === undefined) continue;
      const health = this.#health.get(row.ordinal);
      const usage = noUsage();
      const { ordinal: _, ...counts } = this.#usage.get(row.ordinal) ?? { ordinal: 0 };
      Object.assign(usage, counts);
      const {
        ordinal,
        pool: __,
        fingerprint,
        redactedKey,
        createTime,
        updateTime,
        version,
        createRevision,
        ...settings
      } = row;
      const record = { fingerprint, redactedKey, createTime, updateTime, version, createRevision };
      const key = this.#engine.addKey(
        pool,
        {
          ordinal,
          settings: { ...settings, maxConcurrentLeases: settings.maxConcurrentLeases ?? undefined },
          record: { ...record, revision: health?.revision ?? createRevision },
          usage,
          lastAcquire: this.#time(health?.lastAcquireTime),
          ...this.#judged.ofKey(ordinal),
          ...(health === undefined
            ? {}
            : {
                health: {
                  factor: health.factor,
                  consecutiveFailures: health.consecutiveFailures,
                  lastErrorClass: health.lastErrorClass as 0,
                  lastSuccess: this.#time(health.lastSuccessTime),
                  lastFailure: this.#time(health.lastFailureTime),
                },
              }),
        },
        now,
        { place: false },
      );
      this.#restored.fingerprints.set(fingerprint, key);
      this.#restored.lastOrdinal = Math.max(this.#restored.lastOrdinal, ordinal);
      this.#judged.added(key);
    }
    this.#judged.restRest();
  }

  #restoreTurns(rows: Rows): void {
    const lanes = new Map<number, { pool: Pool; model: string }>();
    for (const { lane, pool: name, model } of this.#lanes) {
      const pool = this.#engine.pools.get(name);
      if (pool !== undefined) lanes.set(lane, { pool, model });
    }
    for (const { lane: id, ordinal, pass, lastPick } of rows.turns ?? []) {
      const key = this.#engine.keys.get(ordinal);
      const at = lanes.get(id);
      if (key === undefined || at === undefined || key.pool !== at.pool) continue;
      const weight = key.settings.weight * key.health.factor;
      at.pool.lanes.get(at.model)?.restore(key.slot, key.settings.tier, pass, lastPick, weight);
    }
  }

  #restoreLeases(rows: Rows): void {
    for (const row of rows.leases ?? []) {
      const key = this.#engine.keys.get(row.ordinal);
      if (key === undefined) continue;
      const lease: Lease = {
        boot: row.boot,
        seq: row.seq,
        key,
        model: row.model,
        caller: row.caller,
        acquireTime: row.acquireTime - this.#clock.wallOffset,
        callTime: row.acquireTime - this.#clock.wallOffset,
        expireTime: row.expireTime - this.#clock.wallOffset,
        state: row.state,
        sessionId: row.sessionId,
        tokens: 0,
        booking: undefined,
        trials: undefined,
        lastOutcome: row.lastOutcome as 0,
        deadline: 0,
        heapIndex: -1,
      };
      key.lastAcquire = Math.max(key.lastAcquire ?? 0, lease.acquireTime);
      this.#engine.hold(lease);
    }
  }

  #time(wall: number | null | undefined): number | undefined {
    return wall === null || wall === undefined ? undefined : wall - this.#clock.wallOffset;
  }
}
