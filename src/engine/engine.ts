import { ErrorClass, type KeyState, Outcome } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import { serveWaiting, type WaitingAcquire } from './acquire.ts';
import type { CallerRecord } from './callers.ts';
import { Changes } from './changes.ts';
import { announceRests, endTrials, isGone, setRests, startTrials, watchRests } from './cooldowns.ts';
import { DeadlineHeap } from './deadline-heap.ts';
import { BalancerError, shown } from './errors.ts';
import { book, regate, unbook } from './gates.ts';
import { HEALTHY, type Health } from './health.ts';
import {
  type Breaker,
  type Gate,
  isFull,
  type Key,
  type KeyRecord,
  type LearnedProject,
  leaseLimit,
  NO_LEASES,
  ordinalOf,
  type Project,
  projectName,
  type Resting,
  type Suspicion,
  stateOf,
} from './key.ts';
import { Lane } from './lane.ts';
import { LATE_MS, type Lease, LeaseState } from './lease.ts';
import type { Order } from './order.ts';
import { Pool } from './pool.ts';
import { joinProject, leaveProject, moveToProject, newProject } from './projects.ts';
import { leaveOnWord, takeOnWord } from './quarantine.ts';
import type { Moment } from './quota/moment.ts';
import { moveTrial, type Rest, restsAfter, restsAt } from './rest.ts';
import type { KeySettings, PoolSettings } from './settings.ts';
import { type Ending, noUsage, type UsageCounts } from './usage.ts';

export interface NewKey {
  ordinal: number;
  settings: KeySettings;
  record: KeyRecord;
  /** Of an earlier run. */
  health?: Health;
  usage?: UsageCounts;
  rests?: readonly Rest[];
  lastAcquire?: number | undefined;
  learnedProject?: LearnedProject | undefined;
  disabledFor?: ErrorClass;
  suspicion?: (key: Key) => Suspicion | undefined;
  lastVerified?: number | undefined;
}

export interface EngineOptions {
  /** Wall-clock milliseconds since 1970, less the engine's clock; `moveWall` changes it. */
  wallOffset?: number;
  /** 0 to less than 1; what rests is spread by it. */
  random?: () => number;
  /** Whether Gemini is asked before a key that reports call dead is disabled. */
  verify?: boolean;
}

type LeaseOrder = Pick<Order, 'model' | 'caller' | 'sessionId' | 'tokens'>;

/** A wall clock that moved by less was adjusted, as it is all the time. */
const MOVED_MS = 1_000;

/**
 * The balancer's memory: pools, keys, leases and who waits, with what time does to them. No I/O: `now` (milliseconds of one
 * clock that only goes forward) is an argument, and what has to be stored is named in `changes`.
 *
 * The rooms next door work on it: acquire.ts gives leases, settle.ts takes them back, shortage.ts says why there is none.
 */
export class Engine {
  readonly pools = new Map<string, Pool>();
  /** By ordinal. */
  readonly keys = new Map<number, Key>();
  readonly projects = new Map<string, Project>();
  /** By boot and sequence number: leases that can still be reported. */
  readonly leases = new Map<number, Map<number, Lease>>();
  /** Leases bound to a session. */
  readonly sessions = new Map<string, Set<Lease>>();
  readonly leaseDeadlines = new DeadlineHeap<Lease>();
  readonly restDeadlines = new DeadlineHeap<Resting>();
  /** When quota windows that are full have room again. */
  readonly gateDeadlines = new DeadlineHeap<Gate>();
  /** When Gemini is to be asked about suspected keys: the store's affair, nothing here waits for it. */
  readonly checks = new DeadlineHeap<Suspicion>();
  /** By model: how overloaded it is. */
  readonly breakers = new Map<string, Breaker>();
  readonly callers = new Map<string, CallerRecord>();
  readonly random: () => number;
  readonly verify: boolean;
  readonly waitDeadlines = new DeadlineHeap<WaitingAcquire>();
  /** Pools with waiting acquires that may be served now. */
  readonly supplied = new Set<Pool>();
  /** Run of the server; part of each lease's name. */
  readonly boot: number;
  changes = new Changes();
  arrivals = 0;
  draining = false;
  #lastSeq = 0;
  #lastLane = 0;

  #wallOffset: number;

  constructor(boot: number, { wallOffset = 0, random = () => 0, verify = true }: EngineOptions = {}) {
    this.boot = boot;
    this.random = random;
    this.verify = verify;
    this.#wallOffset = wallOffset;
  }

  moment(now: number): Moment {
    return { now, wallOffset: this.#wallOffset };
  }

  /** The wall clock was set: what ends at a midnight ends by it. To be called before anything else is done at that time. */
  moveWall(wallOffset: number, now: number): void {
    if (Math.abs(wallOffset - this.#wallOffset) < MOVED_MS) return;
    this.#wallOffset = wallOffset;
    const at = this.moment(now);
    for (const resting of this.restDeadlines.items()) {
      const rests = restsAt(resting.rests, at);
      if (rests === resting.rests) continue;
      for (const [i, rest] of rests.entries()) moveTrial(resting.rests[i]!, rest, resting);
      setRests(this, resting, rests, now);
    }
    // Not only those that wait for a midnight: a day that seemed over may be back.
    const projects = new Set(this.projects.values());
    for (const { project } of this.keys.values()) projects.add(project);
    for (const project of projects) if (project.gates !== undefined) regate(this, project, '', now);
  }

  get lastSeq(): number {
    return this.#lastSeq;
  }

  /** When something falls due next; Infinity: nothing will, -Infinity: something is. */
  get nextDeadline(): number {
    if (this.supplied.size > 0) return -Infinity;
    return Math.min(
      this.leaseDeadlines.next,
      this.restDeadlines.next,
      this.gateDeadlines.next,
      this.waitDeadlines.next,
    );
  }

  /** Does what time has done: expires leases, ends rests, gives up waiting. Every other operation calls it first. */
  advance(now: number): void {
    if (this.nextDeadline > now) return;
    for (let resting = this.restDeadlines.popDue(now); resting; resting = this.restDeadlines.popDue(now)) {
      setRests(this, resting, restsAfter(resting.rests, now), now);
      announceRests(this, resting);
    }
    for (let gate = this.gateDeadlines.popDue(now); gate; gate = this.gateDeadlines.popDue(now)) {
      regate(this, gate.project, gate.model, now);
    }
    for (let lease = this.leaseDeadlines.popDue(now); lease; lease = this.leaseDeadlines.popDue(now)) {
      if (lease.state === LeaseState.ACTIVE) {
        this.suspend(lease, LeaseState.EXPIRED, now);
      } else {
        this.forget(lease);
      }
    }
    for (const pool of this.supplied) serveWaiting(this, pool, now);
    for (let waiter = this.waitDeadlines.popDue(now); waiter; waiter = this.waitDeadlines.popDue(now))
      waiter.timedOut(now);
    // Those who gave up may have held up others.
    for (const pool of this.supplied) serveWaiting(this, pool, now);
  }

  pool(name: string): Pool {
    const pool = this.pools.get(name);
    if (pool === undefined) {
      throw new BalancerError('POOL_NOT_FOUND', `pool ${shown(name)} does not exist`, {
        metadata: { pool: name },
      });
    }
    return pool;
  }

  key(id: string): Key {
    const key = this.keys.get(ordinalOf(id) ?? -1);
    if (key === undefined) {
      throw new BalancerError('KEY_NOT_FOUND', `key ${shown(id)} does not exist`, {
        metadata: { key_id: id },
      });
    }
    return key;
  }

  /** A project is what keys, quotas and stored rests name; it comes into being by that. */
  project(name: string): Project {
    let project = this.projects.get(name);
    if (project === undefined) {
      project = newProject(name);
      this.projects.set(name, project);
    }
    return project;
  }

  /** Lets go of a project that nothing names any more. What still rests or is limited is kept for a key that comes to it later. */
  tidyProject(project: Project): void {
    if (project.name === '' || project.keys.size > 0 || project.rests.length > 0) return;
    if (Object.keys(project.defaults).length > 0) return;
    for (const { meter } of project.gates?.values() ?? []) if (meter.isLimited) return;
    this.projects.delete(project.name);
  }

  addPool(settings: PoolSettings, general?: { id: number }): Pool {
    if (general !== undefined) this.reserveLanes(general.id);
    const host = {
      changes: () => this.changes,
      newLaneId: () => ++this.#lastLane,
      moment: (now: number) => this.moment(now),
      supplied: this.supplied,
    };
    const pool = new Pool(settings, host, general?.id);
    this.pools.set(settings.pool, pool);
    return pool;
  }

  /** Numbers of lanes up to this one are taken. */
  reserveLanes(id: number): void {
    this.#lastLane = Math.max(this.#lastLane, id);
  }

  /** A lane of an earlier run, under its number. */
  lane(id: number, model: string, ordinals: ArrayLike<number>): Lane {
    this.reserveLanes(id);
    return new Lane(id, model, ordinals, 16);
  }

  /** `place: false` leaves it out of the lanes until Pool.place, as while an earlier run's turns are being restored. */
  addKey(pool: Pool, fresh: NewKey, now: number, { place } = { place: true }): Key {
    const key: Key = {
      kind: 'key',
      ordinal: fresh.ordinal,
      pool,
      slot: pool.claimSlot(),
      group: -1,
      settings: fresh.settings,
      project: NO_PROJECT,
      learnedProject: fresh.learnedProject,
      suspicion: undefined,
      lastVerified: fresh.lastVerified ?? -Infinity,
      disabledFor: fresh.disabledFor ?? ErrorClass.UNSPECIFIED,
      health: fresh.health ?? HEALTHY,
      state: 0 as KeyState,
      active: 0,
      leases: NO_LEASES,
      usage: fresh.usage ?? noUsage(),
      faults: undefined,
      lastAcquire: fresh.lastAcquire,
      secretSince: -Infinity,
      record: fresh.record,
      rests: fresh.rests ?? [],
      keys: new Set(),
      deadline: 0,
      heapIndex: -1,
    };
    (key.keys as Set<Key>).add(key);
    key.suspicion = fresh.suspicion?.(key);
    if (key.suspicion !== undefined) {
      this.checks.set(key.suspicion, key.suspicion.deadline);
      takeOnWord(key.suspicion);
    }
    const name = projectName(key);
    joinProject(this, key, name === '' ? undefined : this.project(name), now);
    key.state = stateOf(key, now);
    watchRests(this, key, now);
    this.keys.set(key.ordinal, key);
    pool.add(key);
    if (place) pool.place(key, now);
    return key;
  }

  /** Its leases end as released. */
  removeKey(key: Key, now: number): void {
    for (const lease of key.leases) {
      if (lease.state === LeaseState.ACTIVE) this.suspend(lease, LeaseState.LEFT, now);
      this.forget(lease);
    }
    this.restDeadlines.delete(key);
    if (key.suspicion !== undefined) {
      this.checks.delete(key.suspicion);
      leaveOnWord(key.suspicion);
    }
    leaveProject(this, key);
    this.keys.delete(key.ordinal);
    key.pool.remove(key);
    key.pool.checkModels(now);
  }

  changeKey(key: Key, settings: KeySettings, now: number): void {
    const tierMoved = settings.tier !== key.settings.tier;
    key.pool.recount(key.settings, settings);
    key.settings = settings;
    moveToProject(this, key, now);
    if (tierMoved) key.pool.changeTier(key);
    this.changes.announce(key, key.state);
    key.pool.refresh(key, now);
  }

  setHealth(key: Key, health: Health, now: number): void {
    const factorMoved = health.factor !== key.health.factor;
    key.health = health;
    this.changes.health.add(key);
    if (factorMoved) key.pool.place(key, now);
  }

  /** What a key is suspected of, or disabled for, changed. */
  stateChanged(key: Key, now: number): void {
    if (isGone(this, key)) return;
    key.pool.settingsVersion++;
    this.changes.status.add(key);
    this.changes.announce(key, key.state);
    key.pool.refresh(key, now);
  }

  openLease(key: Key, order: LeaseOrder, ttlMs: number, now: number): Lease {
    const { model } = order;
    const lease: Lease = {
      boot: this.boot,
      seq: ++this.#lastSeq,
      key,
      model,
      caller: order.caller,
      acquireTime: now,
      callTime: now,
      expireTime: now + ttlMs,
      state: LeaseState.ACTIVE,
      sessionId: order.sessionId,
      tokens: order.tokens,
      booking: undefined,
      trials: undefined,
      lastOutcome: Outcome.UNSPECIFIED,
      deadline: 0,
      heapIndex: -1,
    };
    this.hold(lease);
    book(this, lease, now);
    startTrials(this, lease, now);
    return lease;
  }

  /** Takes in a lease: a new one, one of an earlier run, or one whose end could not be stored. */
  hold(lease: Lease): void {
    const { key } = lease;
    const ofBoot = this.leases.get(lease.boot) ?? new Map<number, Lease>();
    this.leases.set(lease.boot, ofBoot);
    ofBoot.set(lease.seq, lease);
    if (key.leases === NO_LEASES) key.leases = new Set([lease]);
    else (key.leases as Set<Lease>).add(lease);
    this.changes.leases.add(lease);
    this.leaseDeadlines.set(lease, lease.state === LeaseState.ACTIVE ? lease.expireTime : lease.expireTime + LATE_MS);
    if (lease.state !== LeaseState.ACTIVE) return;
    key.active++;
    key.pool.active++;
    key.pool.usageOf(lease.model).active++;
    if (lease.sessionId !== '') {
      const ofSession = this.sessions.get(lease.sessionId);
      if (ofSession === undefined) this.sessions.set(lease.sessionId, new Set([lease]));
      else ofSession.add(lease);
    }
    if (isFull(key)) key.pool.withdraw(key);
  }

  /** An active lease gives its slot back and waits for a late report. */
  suspend(lease: Lease, state: 2 | 3, now: number): void {
    this.#freeSlot(lease, now);
    lease.state = state;
    // Of a kept lease the last call was reported; whether it made another nobody said.
    if (lease.lastOutcome !== Outcome.UNSPECIFIED) unbook(this, lease, now);
    else if (state === LeaseState.EXPIRED && lease.key.pool.settings.autoSuccess) lease.lastOutcome = Outcome.SUCCESS;
    const ending = endingOf(lease);
    this.count(lease, ending, 1);
    lease.key.pool.counters[ending]++;
    this.leaseDeadlines.set(lease, lease.expireTime + LATE_MS);
    this.changes.leases.add(lease);
  }

  /** A lease ends for good. What it counts as is the caller's affair. */
  end(lease: Lease, now: number): void {
    if (lease.state === LeaseState.ACTIVE) this.#freeSlot(lease, now);
    this.forget(lease);
  }

  forget(lease: Lease): void {
    lease.state = LeaseState.ENDED;
    this.leaseDeadlines.delete(lease);
    const { key } = lease;
    if (key.leases !== NO_LEASES) (key.leases as Set<Lease>).delete(lease);
    if (key.leases.size === 0) key.leases = NO_LEASES;
    const ofBoot = this.leases.get(lease.boot);
    ofBoot?.delete(lease.seq);
    if (ofBoot?.size === 0) this.leases.delete(lease.boot);
    this.changes.leases.add(lease);
    // The stored lease, which goes now, said when the key was last acquired.
    this.changes.health.add(lease.key);
  }

  /** Moves the counts of the lease's key, pool and model. */
  count(lease: Lease, field: keyof UsageCounts, by: number): void {
    if (by === 0) return;
    const { key } = lease;
    const model = key.pool.usageOf(lease.model);
    key.usage[field] += by;
    key.pool.usage[field] += by;
    model.counts[field] += by;
    this.changes.usage.add(key);
    this.changes.poolUsage.add(key.pool);
    this.changes.modelUsage.add(model);
  }

  #freeSlot(lease: Lease, now: number): void {
    const { key } = lease;
    key.active--;
    key.pool.active--;
    key.pool.usageOf(lease.model).active--;
    if (lease.sessionId !== '') {
      const ofSession = this.sessions.get(lease.sessionId);
      ofSession?.delete(lease);
      if (ofSession?.size === 0) this.sessions.delete(lease.sessionId);
    }
    const limit = leaseLimit(key);
    if (limit > 0 && key.active === limit - 1) key.pool.place(key, now);
    key.pool.supply(key);
    endTrials(this, lease, now);
  }
}

/** Until a key that is being added joins its own. */
const NO_PROJECT = newProject('');

/** How a lease that ended without a report of its own counts. */
export function endingOf(lease: Lease): Ending {
  switch (lease.lastOutcome) {
    case Outcome.SUCCESS:
      return 'succeeded';
    case Outcome.FAILURE:
      return 'failed';
    case Outcome.UNUSED:
      return 'unused';
    default:
      return lease.state === LeaseState.LEFT ? 'released' : 'expired';
  }
}
