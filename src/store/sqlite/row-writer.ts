import type { Changes } from '../../engine/changes.ts';
import type { Engine } from '../../engine/engine.ts';
import type { Key, Project, Resting } from '../../engine/key.ts';
import { type Lane, TIERS } from '../../engine/lane.ts';
import { LATE_MS, type Lease, LeaseState } from '../../engine/lease.ts';
import type { Pool } from '../../engine/pool.ts';
import type { Moment } from '../../engine/quota/moment.ts';
import type { PoolSettings } from '../../engine/settings.ts';
import type { AffinityRow, HealthRow, KeyRow, LeaseRow, PoolRow, PoolUsageRow, Rows, TurnRow } from './journal.ts';
import { callerRow, ownerOf, restRow, statusRow } from './judged-rows.ts';
import { QuotaRows } from './quota-rows.ts';

/** Turns what the engine touched into rows that say how it stands now. Times become wall-clock times. */
export class RowWriter {
  readonly #engine: Engine;
  /** Models for which a key or project may have a stored cooldown: those no longer in force have to be deleted. */
  readonly #storedRests = new Map<Resting, Set<string>>();
  readonly #quotas: QuotaRows;
  /** Turns that rowsOf() wrote and that are not stored yet. */
  #pendingTurns: { lane: Lane; slots: number[] }[] = [];

  constructor(engine: Engine) {
    this.#engine = engine;
    this.#quotas = new QuotaRows(engine);
  }

  /** A quota that an earlier run stored. */
  knowQuota(project: Project, model: string): void {
    this.#quotas.know(project, model);
  }

  /** A cooldown that an earlier run stored. */
  knowRest(resting: Resting, model: string): void {
    const models = this.#storedRests.get(resting);
    if (models === undefined) this.#storedRests.set(resting, new Set([model]));
    else models.add(model);
  }

  rowsOf(changes: Changes, { now, wallOffset }: Moment): Rows {
    const rows: Rows = {};
    const keys = this.#engine.keys;
    const living = (key: Key): boolean => keys.get(key.ordinal) === key;
    if (changes.leases.size > 0) this.#leases(changes, rows, wallOffset);
    if (changes.usage.size > 0) {
      rows.usage = [];
      for (const key of changes.usage) if (living(key)) rows.usage.push({ ...key.usage, ordinal: key.ordinal });
    }
    if (changes.health.size > 0) {
      rows.health = [];
      for (const key of changes.health) if (living(key)) rows.health.push(healthRow(key, wallOffset));
    }
    // A pool may come again under the name of a deleted one, whose counts are not its own.
    const pools = this.#engine.pools;
    const poolUsage = [...changes.poolUsage].filter((pool) => pools.get(pool.name) === pool);
    if (poolUsage.length > 0) rows.poolUsage = poolUsage.map(poolUsageRow);
    const modelUsage = [...changes.modelUsage].filter(({ pool }) => pools.get(pool.name) === pool);
    if (modelUsage.length > 0) {
      rows.modelUsage = modelUsage.map(({ pool, model, counts }) => ({ ...counts, pool: pool.name, model }));
    }
    if (changes.lanes.size > 0) this.#lanes(changes, rows);
    if (changes.droppedLanes.size > 0) rows.droppedLanes = [...changes.droppedLanes];
    if (changes.resting.size > 0) this.#cooldowns(changes, rows, wallOffset);
    if (changes.affinities.size > 0) this.#affinities(changes, rows, wallOffset);
    if (changes.status.size > 0) {
      rows.status = [];
      for (const key of changes.status) if (living(key)) rows.status.push(statusRow(key, wallOffset));
    }
    if (changes.gates.size > 0 || changes.defaults.size > 0) this.#quotas.add(changes, rows, { now, wallOffset });
    if (changes.callers.size > 0) rows.callers = [...changes.callers].map((caller) => callerRow(caller, wallOffset));
    return rows;
  }

  /** The commit failed: turns that it carried are to be written again. */
  putBack(): void {
    for (const { lane, slots } of this.#pendingTurns) for (const slot of slots) lane.touched.add(slot);
    this.#pendingTurns = [];
  }

  #leases(changes: Changes, rows: Rows, wallOffset: number): void {
    const leases: LeaseRow[] = [];
    const ended: { boot: number; seq: number }[] = [];
    for (const lease of changes.leases) {
      if (lease.state === LeaseState.ENDED) ended.push({ boot: lease.boot, seq: lease.seq });
      else leases.push(leaseRow(lease, wallOffset));
    }
    rows.leases = leases;
    rows.endedLeases = ended;
  }

  #lanes(changes: Changes, rows: Rows): void {
    const turns: TurnRow[] = [];
    rows.lanes = [];
    this.#pendingTurns = [];
    for (const [lane, pool] of changes.lanes) {
      if (pool.lanes.get(lane.model) !== lane || this.#engine.pools.get(pool.name) !== pool) continue;
      rows.lanes.push({
        lane: lane.id,
        pool: pool.name,
        model: lane.model,
        virtualTimes: Array.from({ length: TIERS }, (_, tier) => lane.virtualTimes[tier]!),
        picks: lane.picks,
        current: currentOf(pool, lane),
      });
      const slots = [...lane.touched];
      lane.touched.clear();
      this.#pendingTurns.push({ lane, slots });
      for (const slot of slots) {
        const key = pool.keys[slot];
        if (key === undefined) continue;
        turns.push({ lane: lane.id, ordinal: key.ordinal, pass: lane.pass(slot), lastPick: lane.lastPick(slot) });
      }
    }
    rows.turns = turns;
  }

  #cooldowns(changes: Changes, rows: Rows, wallOffset: number): void {
    rows.cooldowns = [];
    rows.endedCooldowns = [];
    for (const resting of changes.resting) {
      const owner = ownerOf(resting);
      const stored = this.#storedRests.get(resting) ?? new Set();
      for (const rest of resting.rests) {
        rows.cooldowns.push({ ...owner, ...restRow(rest, wallOffset) });
      }
      for (const model of stored) {
        if (!resting.rests.some((rest) => rest.model === model)) rows.endedCooldowns.push({ ...owner, model });
      }
      // Until the commit has succeeded both may be stored, the old ones and the new.
      for (const rest of resting.rests) stored.add(rest.model);
      if (stored.size === 0) this.#storedRests.delete(resting);
      else this.#storedRests.set(resting, stored);
    }
  }

  /** The last rows are stored. */
  stored(changes: Changes): void {
    this.#pendingTurns = [];
    for (const resting of changes.resting) {
      if (resting.rests.length === 0) this.#storedRests.delete(resting);
    }
  }

  #affinities(changes: Changes, rows: Rows, wallOffset: number): void {
    const affinities: AffinityRow[] = [];
    const dropped: { pool: string; affinityKey: string }[] = [];
    for (const [pool, affinityKeys] of changes.affinities) {
      for (const affinityKey of affinityKeys) {
        const key = pool.affinities.peek(affinityKey);
        if (key === undefined || this.#engine.keys.get(key.ordinal) !== key)
          dropped.push({ pool: pool.name, affinityKey });
        else {
          affinities.push({
            pool: pool.name,
            affinityKey,
            ordinal: key.ordinal,
            time: (key.lastAcquire ?? 0) + wallOffset,
          });
        }
      }
    }
    rows.affinities = affinities;
    rows.droppedAffinities = dropped;
  }
}

export function leaseRow(lease: Lease, wallOffset: number): LeaseRow {
  return {
    boot: lease.boot,
    seq: lease.seq,
    ordinal: lease.key.ordinal,
    model: lease.model,
    caller: lease.caller,
    acquireTime: lease.acquireTime + wallOffset,
    expireTime: lease.expireTime + wallOffset,
    state: lease.state as 1 | 2 | 3,
    sessionId: lease.sessionId,
    lastOutcome: lease.lastOutcome,
  };
}

export function healthRow(
  key: Pick<Key, 'ordinal' | 'health' | 'lastAcquire'> & { record: Pick<Key['record'], 'revision'> },
  wallOffset: number,
): HealthRow {
  const wall = (time: number | undefined): number | null => (time === undefined ? null : time + wallOffset);
  return {
    ordinal: key.ordinal,
    factor: key.health.factor,
    consecutiveFailures: key.health.consecutiveFailures,
    lastErrorClass: key.health.lastErrorClass,
    lastSuccessTime: wall(key.health.lastSuccess),
    lastFailureTime: wall(key.health.lastFailure),
    lastAcquireTime: wall(key.lastAcquire),
    revision: key.record.revision,
  };
}

export function poolUsageRow(pool: Pool): PoolUsageRow {
  return {
    ...pool.usage,
    pool: pool.name,
    acquiresRejected: pool.acquiresRejected,
    failuresByClass: pool.failuresByClass,
  };
}

export function keyRow(
  key: Pick<Key, 'ordinal' | 'settings' | 'record'>,
  pool: string,
  sealed: Uint8Array | undefined,
): KeyRow {
  const { maxConcurrentLeases, ...settings } = key.settings;
  const { revision: _, ...record } = key.record;
  return {
    ...settings,
    ...record,
    ordinal: key.ordinal,
    pool,
    maxConcurrentLeases: maxConcurrentLeases ?? null,
    ...(sealed === undefined ? {} : { sealed }),
  };
}

export function poolRow(settings: PoolSettings, version: number): PoolRow {
  return { ...settings, selection: settings.selection as number, version };
}

/** The project that a pool stays with in the lane, as it is stored. */
function currentOf(pool: Pool, lane: Lane): string {
  const project = pool.groups[lane.current];
  if (project === undefined) return '';
  const { ownerKind, owner } = ownerOf(project);
  return `${ownerKind} ${owner}`;
}

/** Late reports of a lease are taken until then. */
export function forgetTime(expireTime: number): number {
  return expireTime + LATE_MS;
}
