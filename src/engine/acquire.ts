import { KeyState } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import { leaseBatches } from './batches.ts';
import { brokenUntil } from './breakers.ts';
import type { Due } from './deadline-heap.ts';
import type { Engine } from './engine.ts';
import { BalancerError } from './errors.ts';
import { isFull, type Key, type Project } from './key.ts';
import type { Lane } from './lane.ts';
import type { Lease } from './lease.ts';
import { allows, fitsQuota, type Order } from './order.ts';
import { capReached, lease, pick } from './pick.ts';
import { type Pool, serves } from './pool.ts';
import type { Moment } from './quota/moment.ts';
import { hopeless, shortage } from './shortage.ts';
import { type Waiter, WaitingQueue } from './waiting-queue.ts';

/** Leases by batch; one batch of one lease for a plain acquire. */
export interface Granted {
  batches: Lease[][];
  affinityHit: boolean;
}

export interface WaitingAcquire extends Waiter, Due {
  readonly pool: Pool;
  readonly lane: Lane;
  readonly order: Order;
  /** None of the keys that were in its lanes when waiting acquires were last served will do. */
  tried: boolean;
  /** Keys of its lane are kept free for it. */
  holds: boolean;
  /** Notes when to try again by itself, after it was passed over. */
  readonly passedOver: (now: number) => void;
  /** Notes to try again by itself at that time at the latest. */
  readonly triesBy: (time: number) => void;
  readonly granted: (granted: Granted, now: number) => void;
  readonly timedOut: (now: number) => void;
  readonly refused: (error: BalancerError) => void;
}

/** Leases now, or undefined when there is nothing to lease: shortage() says why. */
export function acquireNow(engine: Engine, pool: Pool, order: Order, now: number): Granted | undefined {
  const lane = pool.laneFor(order.model, now);
  return comesAfterBatch(lane, order) ? undefined : grant(engine, pool, lane, order, now);
}

/** Where a key is free, and yet those who wait for many at once come first. */
const QUEUE_FULL_RETRY_MS = 1_000;

/** For so long keys stay free for an acquire that waits for many at once; then it takes its chances like everyone. */
const BATCH_HOLD_MS = 5_000;

/**
 * Whether an acquire that waits for many keys at once comes before the order. Keys stay free for it, else those who want just
 * one would take them as they come and it would never see enough.
 */
function comesAfterBatch(lane: Lane, order: Order): boolean {
  if (lane.waitingBatches === 0) return false;
  let waiter = lane.waiting.first() as WaitingAcquire | undefined;
  while (waiter !== undefined && !waiter.holds) {
    waiter = lane.waiting.after(waiter) as WaitingAcquire | undefined;
  }
  return waiter !== undefined && waiter.priority >= order.priority;
}

function grant(engine: Engine, pool: Pool, lane: Lane, order: Order, now: number): Granted | undefined {
  if (brokenUntil(engine, order.model, now) > 0) return undefined;
  if (order.batches !== undefined) {
    const batches = leaseBatches(engine, pool, lane, order, now);
    return batches && { batches, affinityHit: false };
  }
  if (capReached(pool)) return undefined;
  const mapped = order.affinityKey === '' ? undefined : pool.affinities.get(order.affinityKey);
  const known = mapped !== undefined && pool.keys[mapped.slot] === mapped;
  const hit = known && lane.has(mapped.slot) && allows(order, lane, mapped, engine.moment(now));
  const key = hit ? mapped : pick(engine, pool, lane, order, now);
  if (key === undefined) return undefined;
  if (order.affinityKey !== '' && !hit && !(known && waitsForSlot(mapped, order.model, engine.moment(now)))) {
    pool.affinities.set(order.affinityKey, key);
    engine.changes.affinity(pool, order.affinityKey);
  }
  return { batches: [[lease(engine, lane, key, order, !hit, now).lease]], affinityHit: hit };
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
  const why = hopeless(engine, pool, lane, order, now);
  if (why !== undefined) throw why;
  if (pool.waiting >= pool.settings.maxWaiting) {
    throw new BalancerError('QUEUE_FULL', `pool "${pool.name}" has ${pool.waiting} acquires waiting, its max_waiting`, {
      metadata: { pool: pool.name },
      retryDelayMs: shortage(engine, pool, lane, order, now).retryDelayMs ?? QUEUE_FULL_RETRY_MS,
    });
  }
  const holdUntil = order.batches === undefined ? Infinity : now + BATCH_HOLD_MS;
  let roomAt = Infinity;
  const watch = (): void =>
    engine.waitDeadlines.set(waiter, Math.min(deadline, waiter.holds ? holdUntil : Infinity, roomAt));
  const waiter: WaitingAcquire = {
    ...callbacks,
    pool,
    lane,
    order,
    tried: false,
    holds: order.batches !== undefined,
    priority: order.priority,
    arrival: ++engine.arrivals,
    previous: undefined,
    next: undefined,
    queue: undefined,
    deadline: 0,
    heapIndex: -1,
    passedOver: (at) => {
      if (order.tokens <= 1 && order.batches === undefined) return;
      roomAt = nextRoomAt(engine, pool, order, at);
      watch();
    },
    triesBy: (time) => {
      if (time >= roomAt) return;
      roomAt = time;
      watch();
    },
    timedOut: (at) => {
      if (at < deadline) {
        if (at >= holdUntil) waiter.holds = false;
        if (at >= roomAt) waiter.tried = false;
        roomAt = Infinity;
        watch();
        engine.supplied.add(pool);
        return;
      }
      giveUp(engine, waiter);
      callbacks.refused(shortage(engine, pool, pool.laneFor(order.model, at), order, at));
    },
  };
  lane.waiting.add(waiter);
  if (order.batches !== undefined) lane.waitingBatches++;
  pool.waiting++;
  watch();
  waiter.passedOver(now);
  return waiter;
}

/** Takes an acquire out of the queue whom nobody wants any more. Those it held up are served by the next advance(). */
export function giveUp(engine: Engine, waiter: WaitingAcquire): void {
  if (waiter.queue === undefined) return;
  leaveQueue(engine, waiter);
  if (waiter.order.batches !== undefined && waiter.pool.waiting > 0) engine.supplied.add(waiter.pool);
}

function leaveQueue(engine: Engine, waiter: WaitingAcquire): void {
  const { pool, lane, order } = waiter;
  lane.waiting.remove(waiter);
  if (order.batches !== undefined) lane.waitingBatches--;
  if (--pool.waiting === 0) {
    pool.nothingFresh();
  }
  engine.waitDeadlines.delete(waiter);
}

/**
 * Gives what is free to those who wait, over all lanes of the pool in the queue's order. An acquire that can use none of the
 * free keys is passed over, but for one that waits for many at once: for a while nothing of its lane goes to those behind it.
 * Where every key is gone or disabled, all are told so.
 *
 * Of an acquire that was passed over before only the keys that became free since are tried, so that many who wait for what is
 * not there cost little.
 */
export function serveWaiting(engine: Engine, pool: Pool, now: number): void {
  engine.supplied.delete(pool);
  if (pool.waiting > 0 && pool.enabledKeys === 0) dismissAll(engine, pool, now);
  const heads: { lane: Lane; waiter: WaitingAcquire }[] = [];
  if (pool.waiting > 0) {
    for (const lane of pool.lanes.values()) {
      const waiter = lane.waiting.first() as WaitingAcquire | undefined;
      if (waiter !== undefined && lane.size > 0 && brokenUntil(engine, lane.model, now) === 0)
        heads.push({ lane, waiter });
    }
  }
  let isHeldUp = false;
  while (heads.length > 0 && !capReached(pool)) {
    let index = 0;
    for (let i = 1; i < heads.length; i++) {
      if (WaitingQueue.before(heads[i]!.waiter, heads[index]!.waiter)) index = i;
    }
    const head = heads[index]!;
    const { lane, waiter } = head;
    const next = lane.waiting.after(waiter) as WaitingAcquire | undefined;
    const tries = mayBeServed(engine, pool, waiter, now);
    const granted = tries ? grant(engine, pool, pool.laneFor(waiter.order.model, now), waiter.order, now) : undefined;
    if (granted !== undefined) {
      leaveQueue(engine, waiter);
      waiter.granted(granted, now);
    } else if (tries) {
      waiter.tried = true;
      waiter.passedOver(now);
    }
    const blocked = granted === undefined && waiter.holds;
    if (blocked) isHeldUp = true;
    if (next === undefined || blocked || lane.size === 0) heads.splice(index, 1);
    else head.waiter = next;
  }
  // Under the pool's cap, or behind those who hold keys, not all were tried: what is fresh stays so.
  if (heads.length === 0 && !isHeldUp) pool.nothingFresh();
  // Batches that were tried and given back supplied the pool.
  engine.supplied.delete(pool);
}

function dismissAll(engine: Engine, pool: Pool, now: number): void {
  for (const lane of pool.lanes.values()) {
    for (let first = lane.waiting.first(); first !== undefined; first = lane.waiting.first()) {
      const waiter = first as WaitingAcquire;
      leaveQueue(engine, waiter);
      waiter.refused(shortage(engine, pool, lane, waiter.order, now));
    }
  }
}

/** Tells cheaply of an acquire that was passed over before that it would be again, and notes when what is fresh will do. */
function mayBeServed(engine: Engine, pool: Pool, waiter: WaitingAcquire, now: number): boolean {
  const { order, lane } = waiter;
  if (!waiter.tried || order.batches !== undefined || pool.freshLanes.has(lane)) return true;
  const at = engine.moment(now);
  const isLarge = order.tokens > 1;
  for (const key of pool.fresh) {
    if (!lane.has(key.slot)) continue;
    if (allows(order, lane, key, at)) return true;
    if (isLarge && order.matches?.(key) !== false) noteRoom(waiter, key.project, at);
  }
  for (const project of isLarge ? pool.freshProjects : []) {
    if (fitsQuota(project, order, at)) return true;
    noteRoom(waiter, project, at);
  }
  return false;
}

function noteRoom(waiter: WaitingAcquire, project: Project, at: Moment): void {
  const { model, tokens } = waiter.order;
  const roomAt = project.gates?.get(model)?.meter.readyAt(tokens, at) ?? 0;
  if (roomAt > at.now) waiter.triesBy(roomAt);
}

/**
 * When a project's quota has room that one call more, of no special size, does not need, so that no gate opens then. A batch may
 * need the room of several calls.
 */
function nextRoomAt(engine: Engine, pool: Pool, order: Order, now: number): number {
  const at = engine.moment(now);
  let next = Infinity;
  for (const project of pool.groups) {
    const meter = project?.gates?.get(order.model)?.meter;
    if (!meter?.isLimited) continue;
    const roomAt = order.batches === undefined ? meter.readyAt(order.tokens, at) : meter.nextRelease(at);
    if (roomAt > now && roomAt < next) next = roomAt;
  }
  return next;
}

/** A healthy key whose leases are all out: it stays the one of its affinity key. */
function waitsForSlot(key: Key, model: string, at: Moment): boolean {
  return key.state === KeyState.AVAILABLE && isFull(key) && serves(key, model, 0, at);
}
