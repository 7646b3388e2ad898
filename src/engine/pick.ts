import { Selection } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import type { Engine } from './engine.ts';
import type { Key } from './key.ts';
import type { Lane, Turn } from './lane.ts';
import type { Lease } from './lease.ts';
import { allows, candidates, fitsQuota, type Order, sizeOf } from './order.ts';
import type { Pool } from './pool.ts';

/** The key whose turn it is among those that the order allows. */
export function pick(engine: Engine, pool: Pool, lane: Lane, order: Order, now: number): Key | undefined {
  const at = engine.moment(now);
  if (order.requireKeyId !== '' || order.requireProject !== '') {
    const slots: number[] = [];
    const named = candidates(engine, pool, order);
    // Whichever are fewer: of a large project that rests none may be in the lane.
    if (lane.size < sizeOf(named)) {
      for (const slot of lane.slots()) if (allows(order, lane, pool.keys[slot]!, at)) slots.push(slot);
    } else {
      for (const key of named) {
        if (key?.pool === pool && lane.has(key.slot) && allows(order, lane, key, at)) slots.push(key.slot);
      }
    }
    return pool.keys[lane.first(slots)];
  }
  const isPlain = order.matches === undefined && lane.model === order.model;
  const skip = isPlain ? undefined : (slot: number): boolean => !allows(order, lane, pool.keys[slot]!, at);
  // Where many tokens are expected whole projects may be passed over.
  const skipGroup =
    order.tokens === 0 ? undefined : (group: number): boolean => !fitsQuota(pool.groups[group]!, order, at);
  if (pool.settings.selection !== Selection.UNTIL_SPENT) return pool.keys[lane.peek(skip, skipGroup)];
  const stays = lane.current >= 0 && skipGroup?.(lane.current) !== true ? lane.peekIn(lane.current, skip) : -1;
  if (stays >= 0) return pool.keys[stays];
  const key = pool.keys[lane.peek(skip, skipGroup)];
  if (key !== undefined) lane.current = key.group;
  return key;
}

/** A lease with what it takes to make it not have been. */
export interface Taken {
  lease: Lease;
  turn: Turn;
  lastAcquire: number | undefined;
}

/** `byTurn`: false where affinity chose the key. */
export function lease(engine: Engine, lane: Lane, key: Key, order: Order, byTurn: boolean, now: number): Taken {
  const { settings } = key.pool;
  const turn = lane.take(key.slot, byTurn && order.requireKeyId === '' && order.requireProject === '');
  engine.changes.lanes.set(lane, key.pool);
  const { lastAcquire } = key;
  key.lastAcquire = now;
  const ttlMs = Math.min(order.ttlMs ?? settings.defaultLeaseTtlMs, settings.maxLeaseTtlMs);
  return { lease: engine.openLease(key, order, ttlMs, now), turn, lastAcquire };
}

/** Whether the pool has as many leases as it may. */
export function capReached({ settings, active }: Pool): boolean {
  return settings.maxTotalLeases > 0 && active >= settings.maxTotalLeases;
}
