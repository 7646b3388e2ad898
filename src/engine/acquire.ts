import { KeyReuse, KeyState } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import type { Due } from './deadline-heap.ts';
import type { Engine } from './engine.ts';
import { BalancerError } from './errors.ts';
import { isFull, type Key, keyId, ordinalOf } from './key.ts';
import type { Lane, Turn } from './lane.ts';
import type { Lease } from './lease.ts';
import { type Pool, serves } from './pool.ts';
import { shortage } from './shortage.ts';
import { type Waiter, WaitingQueue } from './waiting-queue.ts';

/** What an acquire asks for. */
export interface Order {
  readonly caller: string;
  /** "": any. */
  readonly model: string;
  readonly affinityKey: string;
  readonly ttlMs: number | undefined;
  readonly sessionId: string;
  readonly priority: number;
  readonly requireProject: string;
  readonly requireKeyId: string;
  /** What matcher() made of excludes and requirements. */
  readonly matches: ((key: Key) => boolean) | undefined;
  /** One batch for each size; undefined: one lease. */
  readonly batches: { sizes: readonly number[]; reuse: KeyReuse; partial: boolean } | undefined;
}

export interface Constraints {
  excludeKeyIds: readonly string[];
  excludeProjects: readonly string[];
  requireProject: string;
  requireKeyId: string;
}

/** Whether a key is one that the request allows; undefined when each is. */
export function matcher(request: Constraints): ((key: Key) => boolean) | undefined {
  const { requireProject, requireKeyId } = request;
  const keys = new Set(request.excludeKeyIds);
  const projects = new Set(request.excludeProjects);
  if (keys.size === 0 && projects.size === 0 && requireProject === '' && requireKeyId === '') return undefined;
  return (key) => {
    const { project } = key.settings;
    if (requireProject !== '' && project !== requireProject) return false;
    if (project !== '' && projects.has(project)) return false;
    if (requireKeyId === '' && keys.size === 0) return true;
    const id = keyId(key.ordinal);
    return (requireKeyId === '' || id === requireKeyId) && !keys.has(id);
  };
}

/** Leases by batch; one batch of one lease for a plain acquire. */
export interface Granted {
  batches: Lease[][];
  affinityHit: boolean;
}

export interface WaitingAcquire extends Waiter, Due {
  readonly pool: Pool;
  readonly order: Order;
  readonly granted: (granted: Granted, now: number) => void;
  readonly timedOut: (now: number) => void;
  readonly refused: (error: BalancerError) => void;
}

/** Leases now, or undefined when there is nothing to lease: shortage() says why. */
export function acquireNow(engine: Engine, pool: Pool, order: Order, now: number): Granted | undefined {
  const lane = pool.laneFor(order.model, now);
  if (order.batches !== undefined) return leaseBatches(engine, pool, lane, order, now);
  if (pool.settings.maxTotalLeases > 0 && pool.active >= pool.settings.maxTotalLeases) return undefined;
  const mapped = order.affinityKey === '' ? undefined : pool.affinities.get(order.affinityKey);
  const hit = mapped !== undefined && lane.has(mapped.slot) && allows(order, lane, mapped, now);
  const key = hit ? mapped : pick(engine, pool, lane, order, now);
  if (key === undefined) return undefined;
  if (order.affinityKey !== '' && !hit && (mapped === undefined || !waitsForSlot(mapped, order.model, now))) {
    pool.affinities.set(order.affinityKey, key);
    engine.changes.affinity(pool, order.affinityKey);
  }
  return { batches: [[lease(engine, lane, key, order, now).lease]], affinityHit: hit };
}

/** Puts an order into the queue; one of the callbacks comes later. Throws when it cannot wait. */
export function wait(
  engine: Engine,
  pool: Pool,
  order: Order,
  deadline: number,
  now: number,
  callbacks: Pick<WaitingAcquire, 'granted' | 'refused'>,
): WaitingAcquire {
  const lane = pool.laneFor(order.model, now);
  const why = shortage(pool, lane, order, now);
  if (why.code !== 'RESOURCE_EXHAUSTED') throw why;
  if (pool.waiting >= pool.settings.maxWaiting) {
    throw new BalancerError('QUEUE_FULL', `pool "${pool.name}" has ${pool.waiting} acquires waiting, its max_waiting`, {
      metadata: { pool: pool.name },
      ...(why.retryDelayMs === undefined ? {} : { retryDelayMs: why.retryDelayMs }),
    });
  }
  const waiter: WaitingAcquire = {
    ...callbacks,
    pool,
    order,
    priority: order.priority,
    arrival: ++engine.arrivals,
    previous: undefined,
    next: undefined,
    queue: undefined,
    deadline: 0,
    heapIndex: -1,
    timedOut: (at) => {
      giveUp(engine, waiter);
      callbacks.refused(shortage(pool, pool.laneFor(order.model, at), order, at));
    },
  };
  lane.waiting.add(waiter);
  pool.waiting++;
  engine.waitDeadlines.set(waiter, deadline);
  return waiter;
}

/** Takes an acquire out of the queue: it was served, refused, or nobody wants it any more. */
export function giveUp(engine: Engine, waiter: WaitingAcquire): void {
  if (waiter.queue === undefined) return;
  waiter.queue.remove(waiter);
  waiter.pool.waiting--;
  engine.waitDeadlines.delete(waiter);
}

/**
 * Gives what is free to those who wait, over all lanes of the pool in the queue's order. An acquire that can use none of the
 * free keys is passed over, but for one that waits for many at once: nothing of its lane goes to those behind it.
 */
export function serveWaiting(engine: Engine, pool: Pool, now: number): void {
  pool.supplied = false;
  if (pool.waiting === 0) return;
  const heads: { lane: Lane; waiter: WaitingAcquire }[] = [];
  for (const lane of pool.lanes.values()) {
    const waiter = lane.waiting.first() as WaitingAcquire | undefined;
    if (waiter !== undefined && lane.size > 0) heads.push({ lane, waiter });
  }
  while (heads.length > 0) {
    if (pool.settings.maxTotalLeases > 0 && pool.active >= pool.settings.maxTotalLeases) return;
    let index = 0;
    for (let i = 1; i < heads.length; i++) {
      if (WaitingQueue.before(heads[i]!.waiter, heads[index]!.waiter)) index = i;
    }
    const head = heads[index]!;
    const { lane, waiter } = head;
    const next = lane.waiting.after(waiter) as WaitingAcquire | undefined;
    const granted = acquireNow(engine, pool, waiter.order, now);
    if (granted !== undefined) {
      giveUp(engine, waiter);
      waiter.granted(granted, now);
    }
    const blocked = granted === undefined && waiter.order.batches !== undefined;
    if (next === undefined || blocked || lane.size === 0) heads.splice(index, 1);
    else head.waiter = next;
  }
}

function pick(engine: Engine, pool: Pool, lane: Lane, order: Order, now: number): Key | undefined {
  if (order.requireKeyId !== '') {
    const key = engine.keys.get(ordinalOf(order.requireKeyId) ?? -1);
    return key?.pool === pool && lane.has(key.slot) && allows(order, lane, key, now) ? key : undefined;
  }
  if (order.requireProject !== '') {
    const keys = engine.projects.get(order.requireProject)?.keys ?? [];
    const slots: number[] = [];
    for (const key of keys) if (key.pool === pool && allows(order, lane, key, now)) slots.push(key.slot);
    return pool.keys[lane.first(slots)];
  }
  if (order.matches === undefined && lane.model === order.model) return pool.keys[lane.peek()];
  return pool.keys[lane.peek((slot) => !allows(order, lane, pool.keys[slot]!, now))];
}

/** Whether a key that is in the lane will do for the order. In the general lane keys may be that do not serve its model. */
function allows(order: Order, lane: Lane, key: Key, now: number): boolean {
  if (order.matches !== undefined && !order.matches(key)) return false;
  return lane.model === order.model || serves(key, order.model, now);
}

/** A healthy key whose leases are all out: it stays the one of its affinity key. */
function waitsForSlot(key: Key, model: string, now: number): boolean {
  return key.state === KeyState.AVAILABLE && isFull(key) && serves(key, model, now);
}

function lease(engine: Engine, lane: Lane, key: Key, order: Order, now: number): { lease: Lease; turn: Turn } {
  const { settings } = key.pool;
  const turn = lane.take(key.slot);
  engine.changes.lanes.set(lane, key.pool);
  key.lastAcquire = now;
  const ttlMs = Math.min(order.ttlMs ?? settings.defaultLeaseTtlMs, settings.maxLeaseTtlMs);
  return { lease: engine.openLease(key, order.model, order.caller, ttlMs, order.sessionId, now), turn };
}

/** All batches or (unless partial) none. The largest batch chooses first: it has the fewest ways to be filled. */
function leaseBatches(engine: Engine, pool: Pool, lane: Lane, order: Order, now: number): Granted | undefined {
  const { sizes, reuse, partial } = order.batches!;
  const batches: Lease[][] = sizes.map(() => []);
  const taken: { lease: Lease; turn: Turn }[] = [];
  const used = new Set<Key>();
  let complete = true;
  for (const index of sizes.map((_, i) => i).sort((a, b) => sizes[b]! - sizes[a]!)) {
    while (batches[index]!.length < sizes[index]!) {
      const full = pool.settings.maxTotalLeases > 0 && pool.active >= pool.settings.maxTotalLeases;
      const key = full ? undefined : pick(engine, pool, lane, order, now);
      if (key === undefined) {
        complete = false;
        break;
      }
      const one = lease(engine, lane, key, order, now);
      taken.push(one);
      batches[index]!.push(one.lease);
      if (reuse === KeyReuse.UNIQUE || reuse === KeyReuse.UNIQUE_IN_BATCH) {
        // Out of the lane until its batch (or the whole answer) is full, so that no pick has to pass it over.
        lane.leave(key.slot);
        used.add(key);
      }
    }
    if (reuse === KeyReuse.UNIQUE_IN_BATCH) {
      for (const key of used) pool.place(key, now);
      used.clear();
    }
  }
  if (taken.length === 0 || (!complete && !partial)) {
    for (const { lease: given, turn } of taken.reverse()) {
      lane.untake(turn);
      engine.end(given, now);
    }
    for (const key of used) pool.place(key, now);
    return undefined;
  }
  for (const key of used) pool.place(key, now);
  return { batches, affinityHit: false };
}
