import type { KeyState } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import type { CallerRecord } from './callers.ts';
import type { Gate, Key, Project, Resting } from './key.ts';
import type { Lane } from './lane.ts';
import type { Lease } from './lease.ts';
import type { ModelUsage, Pool } from './pool.ts';

/** A pool, or ("" aside) a model of it, that ran out of available keys, or got some back. */
export interface PoolShift {
  pool: Pool;
  model: string;
  exhausted: boolean;
}

/**
 * What the engine touched since the store last asked. Only names: the store writes how each of them stands then, so that a
 * thing touched often is written once.
 */
export class Changes {
  readonly leases = new Set<Lease>();
  readonly usage = new Set<Key>();
  readonly health = new Set<Key>();
  readonly poolUsage = new Set<Pool>();
  readonly modelUsage = new Set<ModelUsage>();
  readonly resting = new Set<Resting>();
  /** Lanes with touched turns, and the pool each belongs to. */
  readonly lanes = new Map<Lane, Pool>();
  readonly droppedLanes = new Set<number>();
  /** By pool: affinity keys that moved to another key, or were let go. */
  readonly affinities = new Map<Pool, Set<string>>();
  /** Keys whose change watchers are told of, with the state they had before. */
  readonly announced = new Map<Key, KeyState>();
  /** By pool and model. */
  readonly shifts = new Map<string, PoolShift>();
  /** Keys whose suspicion, verdict or learned project changed. */
  readonly status = new Set<Key>();
  readonly gates = new Set<Gate>();
  /** Projects whose limits for models without their own changed. */
  readonly defaults = new Set<Project>();
  readonly callers = new Set<CallerRecord>();

  get empty(): boolean {
    return (
      this.leases.size === 0 &&
      this.usage.size === 0 &&
      this.health.size === 0 &&
      this.poolUsage.size === 0 &&
      this.modelUsage.size === 0 &&
      this.resting.size === 0 &&
      this.lanes.size === 0 &&
      this.droppedLanes.size === 0 &&
      this.affinities.size === 0 &&
      this.announced.size === 0 &&
      this.shifts.size === 0 &&
      this.status.size === 0 &&
      this.gates.size === 0 &&
      this.defaults.size === 0 &&
      this.callers.size === 0
    );
  }

  affinity(pool: Pool, affinityKey: string): void {
    const touched = this.affinities.get(pool);
    if (touched === undefined) this.affinities.set(pool, new Set([affinityKey]));
    else touched.add(affinityKey);
  }

  announce(key: Key, previousState: KeyState): void {
    if (!this.announced.has(key)) this.announced.set(key, previousState);
  }

  shift(shift: PoolShift): void {
    this.shifts.set(`${shift.pool.name}\n${shift.model}`, shift);
  }

  /** Takes back what could not be stored; `older` was touched before these. */
  putBack(older: Changes): void {
    for (const name of [
      'leases',
      'usage',
      'health',
      'poolUsage',
      'modelUsage',
      'resting',
      'droppedLanes',
      'status',
      'gates',
      'defaults',
      'callers',
    ] as const) {
      const into = this[name] as Set<unknown>;
      for (const each of older[name]) into.add(each);
    }
    for (const [lane, pool] of older.lanes) this.lanes.set(lane, pool);
    for (const [pool, keys] of older.affinities) for (const key of keys) this.affinity(pool, key);
    for (const [key, state] of older.announced) this.announced.set(key, state);
    for (const [name, shift] of older.shifts) if (!this.shifts.has(name)) this.shifts.set(name, shift);
  }
}
