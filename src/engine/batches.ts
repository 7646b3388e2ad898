import { KeyReuse } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import { type Batches, fits } from './batch-fit.ts';
import type { Engine } from './engine.ts';
import { unbook } from './gates.ts';
import { type Key, leaseLimit } from './key.ts';
import type { Lane } from './lane.ts';
import type { Lease } from './lease.ts';
import { allows, type Order } from './order.ts';
import { capReached, lease, pick, type Taken } from './pick.ts';
import type { Pool } from './pool.ts';
import type { Moment } from './quota/moment.ts';

/** All batches or (unless partial) none. */
export function leaseBatches(engine: Engine, pool: Pool, lane: Lane, order: Order, now: number): Lease[][] | undefined {
  const batches = order.batches!;
  const at = engine.moment(now);
  if (!batches.partial && !fitNow(pool, lane, order, batches, at)) return undefined;
  // By turn a batch may use up what a later one needs. Keys with most room first never do.
  return fillBatches(engine, pool, lane, order, now, true) ?? fillBatches(engine, pool, lane, order, now, false);
}

/** Keys are chosen by turn or by the room that they have. The largest batch comes first: it is hardest to fill. */
function fillBatches(
  engine: Engine,
  pool: Pool,
  lane: Lane,
  order: Order,
  now: number,
  byTurn: boolean,
): Lease[][] | undefined {
  const { sizes, reuse, partial } = order.batches!;
  const batches: Lease[][] = sizes.map(() => []);
  const taken: Taken[] = [];
  const used = new Set<Key>();
  let complete = true;
  for (const index of sizes.map((_, i) => i).sort((a, b) => sizes[b]! - sizes[a]!)) {
    const byRoom = byTurn ? undefined : keysByRoom(pool, lane, order, engine.moment(now)).values();
    while (batches[index]!.length < sizes[index]!) {
      const key = capReached(pool)
        ? undefined
        : byRoom === undefined
          ? pick(engine, pool, lane, order, now)
          : nextOffered(byRoom, lane);
      if (key === undefined) {
        complete = false;
        break;
      }
      const one = lease(engine, lane, key, order, byTurn, now);
      taken.push(one);
      batches[index]!.push(one.lease);
      if (reuse === KeyReuse.UNIQUE || reuse === KeyReuse.UNIQUE_IN_BATCH) {
        // Out of the lane until its batch (or the whole answer) is full, so that no pick has to pass it over.
        lane.leave(key.slot);
        used.add(key);
      }
    }
    if (!complete && !partial) break;
    if (reuse === KeyReuse.UNIQUE_IN_BATCH) {
      for (const key of used) pool.place(key, now);
      used.clear();
    }
  }
  const refused = taken.length === 0 || (!complete && !partial);
  if (refused) {
    for (const { lease: given, turn, lastAcquire } of taken.reverse()) {
      lane.untake(turn);
      unbook(engine, given, now);
      engine.end(given, now);
      engine.changes.leases.delete(given);
      given.key.lastAcquire = lastAcquire;
    }
  }
  for (const key of used) pool.place(key, now);
  return refused ? undefined : batches;
}

/** Whether the batches can be filled with what is free now. */
function fitNow(pool: Pool, lane: Lane, order: Order, batches: Batches, at: Moment): boolean {
  const { maxTotalLeases } = pool.settings;
  const total = batches.sizes.reduce((a, b) => a + b, 0);
  if (maxTotalLeases > 0 && pool.active + total > maxTotalLeases) return false;
  return fits(batches, freeRooms(pool, lane, order, at));
}

/** A lease of this very answer may have used up the quota of a key's project. */
function nextOffered(keys: Iterator<Key>, lane: Lane): Key | undefined {
  for (let next = keys.next(); !next.done; next = keys.next()) if (lane.has(next.value.slot)) return next.value;
  return undefined;
}

function keysByRoom(pool: Pool, lane: Lane, order: Order, at: Moment): Key[] {
  return [...freeKeys(pool, lane, order, at)].sort((a, b) => roomOf(b) - roomOf(a) || a.ordinal - b.ordinal);
}

function* freeKeys(pool: Pool, lane: Lane, order: Order, at: Moment): Generator<Key> {
  for (const slot of lane.slots()) {
    const key = pool.keys[slot]!;
    if (allows(order, lane, key, at)) yield key;
  }
}

function* freeRooms(pool: Pool, lane: Lane, order: Order, at: Moment): Generator<number> {
  for (const key of freeKeys(pool, lane, order, at)) yield roomOf(key);
}

/** How many more leases the key may give. */
function roomOf(key: Key): number {
  const limit = leaseLimit(key);
  return limit > 0 ? limit - key.active : Infinity;
}
