import type { Engine } from './engine.ts';
import type { Key } from './key.ts';
import type { Lane, Turn } from './lane.ts';
import type { Lease } from './lease.ts';
import { allows, candidates, type Order, sizeOf } from './order.ts';
import type { Pool } from './pool.ts';

/** The key whose turn it is among those that the order allows. */
export function pick(engine: Engine, pool: Pool, lane: Lane, order: Order, now: number): Key | undefined {
  if (order.requireKeyId !== '' || order.requireProject !== '') {
    const slots: number[] = [];
    const named = candidates(engine, pool, order);
    // Whichever are fewer: of a large project that rests none may be in the lane.
    if (lane.size < sizeOf(named)) {
      for (const slot of lane.slots()) if (allows(order, lane, pool.keys[slot]!, now)) slots.push(slot);
    } else {
      for (const key of named) {
        if (key?.pool === pool && lane.has(key.slot) && allows(order, lane, key, now)) slots.push(key.slot);
      }
    }
    return pool.keys[lane.first(slots)];
  }
  if (order.matches === undefined && lane.model === order.model) return pool.keys[lane.peek()];
  return pool.keys[lane.peek((slot) => !allows(order, lane, pool.keys[slot]!, now))];
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
  return { lease: engine.openLease(key, order.model, order.caller, ttlMs, order.sessionId, now), turn, lastAcquire };
}

/** Whether the pool has as many leases as it may. */
export function capReached({ settings, active }: Pool): boolean {
  return settings.maxTotalLeases > 0 && active >= settings.maxTotalLeases;
}
