import { ErrorClass, type KeyState, Outcome } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import { serveWaiting, type WaitingAcquire } from './acquire.ts';
import type { CallerRecord } from './callers.ts';
import { Changes } from './changes.ts';
import { DeadlineHeap } from './deadline-heap.ts';
import { BalancerError, invalidField, shown } from './errors.ts';
import { HEALTHY, type Health } from './health.ts';
import {
  type Breaker,
  type Gate,
  isFull,
  type Key,
  type KeyRecord,
  type LearnedProject,
  leaseLimit,
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
import type { Limits } from './quota/limits.ts';
import { Meter } from './quota/meter.ts';
import type { Moment } from './quota/moment.ts';
import { cutShort, isHalfOpen, moveTrial, nextChange, type Rest, restsAfter, restsAt, restsUntil } from './rest.ts';
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

/** Models of a project whose quota is kept, and models with a breaker: clients choose model names. */
const MAX_GATES = 64;
const MAX_BREAKERS = 1_000;
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
      this.setRests(resting, rests, now);
    }
    // Not only those that wait for a midnight: a day that seemed over may be back.
    const projects = new Set(this.projects.values());
    for (const { project } of this.keys.values()) projects.add(project);
    for (const project of projects) if (project.gates !== undefined) this.regate(project, '', now);
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
      this.setRests(resting, restsAfter(resting.rests, now), now);
      this.announce(resting);
    }
    for (let gate = this.gateDeadlines.popDue(now); gate; gate = this.gateDeadlines.popDue(now)) {
      this.regate(gate.project, gate.model, now);
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

  /** Quota of one (project, model), made when it is first needed. undefined: no model is named, or too many were. */
  gateFor(project: Project, model: string): Gate | undefined {
    const known = project.gates?.get(model);
    if (known !== undefined || model === '') return known;
    project.gates ??= new Map();
    if (project.gates.size >= MAX_GATES && !dropIdleGate(project.gates)) return undefined;
    const gate = { project, model, meter: new Meter(model), deadline: 0, heapIndex: -1 };
    gate.meter.defaults = project.defaults;
    project.gates.set(model, gate);
    return gate;
  }

  /** Makes room for limits of a model of a project; "" needs none. Throws INVALID_FIELD where too many models have some. */
  claimGate(project: Project, model: string): void {
    if (model === '' || this.gateFor(project, model) !== undefined) return;
    throw invalidField('quota.model', model, `one of at most ${MAX_GATES} models whose quota is kept for a project`);
  }

  /** Limits of a project's models that have none of their own. */
  setDefaults(project: Project, defaults: Limits, now: number): void {
    project.defaults = defaults;
    for (const { meter } of project.gates?.values() ?? []) meter.defaults = defaults;
    this.changes.defaults.add(project);
    this.relimit(project, '', now);
  }

  /** Limits of one model of a project; {} for those of the project. */
  setLimits(project: Project, model: string, limits: Limits, now: number): void {
    this.claimGate(project, model);
    const gate = this.gateFor(project, model)!;
    gate.meter.setLimits = limits;
    this.changes.gates.add(gate);
    this.relimit(project, model, now);
  }

  /** What an earlier run stored. */
  replaceMeter(gate: Gate, meter: Meter, at: Moment): void {
    meter.setLimits = gate.meter.setLimits;
    meter.defaults = gate.meter.defaults;
    gate.meter = meter;
    this.regate(gate.project, gate.model, at.now);
  }

  /** Limits of a model ("": of all) of the project are others: there may be room too where it was open already. */
  relimit(project: Project, model: string, now: number): void {
    this.regate(project, model, now);
    for (const { pool } of project.places) pool.supplyProject(project);
  }

  /** Offers or withholds a project's keys for a model ("": for all), as its cooldowns and quota say now. */
  regate(project: Project, model: string, now: number): void {
    const at = this.moment(now);
    const gates = model === '' ? project.gates?.values() : [project.gates?.get(model)];
    for (const gate of gates ?? []) if (gate !== undefined) this.#watchGate(gate, at);
    for (const place of project.places) place.pool.gate(place, project, model, at);
  }

  #watchGate(gate: Gate, at: Moment): void {
    const readyAt = gate.meter.readyAt(1, at);
    if (readyAt > 0 && readyAt < gate.deadline) readySooner(gate.project);
    if (readyAt === 0 || readyAt === Infinity) {
      this.gateDeadlines.delete(gate);
      gate.deadline = readyAt;
    } else {
      this.gateDeadlines.set(gate, readyAt);
    }
  }

  /** undefined: no model is named, or too many have one. */
  breaker(model: string): Breaker | undefined {
    let breaker = this.breakers.get(model);
    if (breaker !== undefined || model === '') return breaker;
    if (this.breakers.size >= MAX_BREAKERS) {
      for (const each of this.breakers.values()) if (each.rests.length === 0) this.breakers.delete(each.model);
      if (this.breakers.size >= MAX_BREAKERS) return undefined;
    }
    breaker = {
      kind: 'model',
      model,
      failures: 0,
      lastSuccess: -Infinity,
      rests: [],
      keys: NO_KEYS,
      deadline: 0,
      heapIndex: -1,
    };
    this.breakers.set(model, breaker);
    return breaker;
  }

  /** Until when an overloaded model takes no calls; 0: it does. */
  brokenUntil(model: string, now: number): number {
    const breaker = this.breakers.get(model);
    return breaker === undefined || breaker.rests.length === 0 ? 0 : restsUntil(breaker.rests, '', now);
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
      leases: new Set(),
      usage: fresh.usage ?? noUsage(),
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
    if (key.suspicion !== undefined) this.checks.set(key.suspicion, key.suspicion.deadline);
    const name = projectName(key);
    joinProject(this, key, name === '' ? undefined : this.project(name), now);
    key.state = stateOf(key, now);
    this.#watchRests(key, now);
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
    if (key.suspicion !== undefined) this.checks.delete(key.suspicion);
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
    if (this.#isGone(key)) return;
    key.pool.settingsVersion++;
    this.changes.status.add(key);
    this.changes.announce(key, key.state);
    key.pool.refresh(key, now);
  }

  setRests(resting: Resting, rests: readonly Rest[], now: number): void {
    // As when a report is undone whose key was deleted meanwhile.
    if (this.#isGone(resting)) return;
    const before = resting.rests;
    const sooner = cutShort(before, rests, now);
    resting.rests = rests;
    this.changes.resting.add(resting);
    this.#watchRests(resting, now);
    if (resting.kind === 'model') {
      if (this.brokenUntil((resting as Breaker).model, now) === 0) this.#supplyModel((resting as Breaker).model);
      return;
    }
    if (sooner) readySooner(resting);
    if (resting.kind === 'project') this.#refreshProject(resting as Project, [...before, ...rests], now);
    else (resting as Key).pool.refresh(resting as Key, now);
    if (resting.kind === 'project') this.tidyProject(resting as Project);
  }

  /** Whether it is a deleted key, or the project of its own that such a key had. */
  #isGone(resting: Resting): boolean {
    if (resting.kind === 'model' || (resting as Partial<Project>).name) return false;
    return [...resting.keys].every((key) => this.keys.get(key.ordinal) !== key);
  }

  /** Watchers are to hear of the cooldowns of these keys. */
  announce(resting: Resting): void {
    if (!this.#isGone(resting)) for (const key of resting.keys) this.changes.announce(key, key.state);
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
    this.book(lease, now);
    this.#startTrials(lease, now);
    return lease;
  }

  /** Counts a call that the lease is about to make against the quota of its project. */
  book(lease: Lease, now: number): void {
    const { project } = lease.key;
    const gate = this.gateFor(project, lease.model);
    if (gate === undefined) return;
    const at = this.moment(now);
    lease.booking = gate.meter.book(lease.tokens, at);
    this.gateMoved(gate, at);
  }

  /** What was used of a quota changed. */
  gateMoved(gate: Gate, at: Moment): void {
    if (!gate.meter.isLimited) return;
    this.changes.gates.add(gate);
    if (gate.meter.readyAt(1, at) !== 0 || gate.heapIndex >= 0) this.regate(gate.project, gate.model, at.now);
  }

  /** The same, by something that came back. */
  gateReleased(gate: Gate, at: Moment): void {
    this.gateMoved(gate, at);
    if (gate.meter.isLimited) for (const { pool } of gate.project.places) pool.supplyProject(gate.project);
  }

  /** What was booked for a call that was not made, or turned away, comes back. */
  unbook(lease: Lease, now: number): void {
    const { booking } = lease;
    if (booking === undefined) return;
    lease.booking = undefined;
    const gate = lease.key.project.gates?.get(lease.model);
    if (gate === undefined) return;
    const at = this.moment(now);
    gate.meter.settle(booking, { counted: false, succeeded: false, tokens: undefined }, at);
    this.gateReleased(gate, at);
  }

  /** The lease is the one call that tries what is half-open. */
  #startTrials(lease: Lease, now: number): void {
    const { key, model } = lease;
    const breaker = this.breakers.get(model);
    if (key.rests.length === 0 && key.project.rests.length === 0 && !breaker?.rests.length) return;
    for (const resting of [key, key.project, breaker]) {
      for (const rest of resting?.rests ?? []) {
        const isMeant = resting!.kind === 'model' || rest.model === '' || rest.model === model;
        if (!isMeant || rest.trial !== undefined || !isHalfOpen(rest, now)) continue;
        rest.trial = lease;
        lease.trials ??= [];
        lease.trials.push({ resting: resting!, rest });
      }
    }
    for (const { resting, rest } of lease.trials ?? []) this.#trialMoved(resting, rest, now);
  }

  /** It goes on trying what it tried: its end was undone, or the server began anew. */
  resumeTrials(lease: Lease, trials: Lease['trials'], now: number): void {
    if (lease.state !== LeaseState.ACTIVE) return;
    for (const { resting, rest } of trials ?? []) {
      if (rest.trial !== undefined || !resting.rests.includes(rest)) continue;
      rest.trial = lease;
      lease.trials ??= [];
      lease.trials.push({ resting, rest });
      this.#trialMoved(resting, rest, now);
    }
  }

  /** A lease that tried what was half-open is over, or was reported: another may try. */
  endTrials(lease: Lease, now: number): void {
    const { trials } = lease;
    if (trials === undefined) return;
    lease.trials = undefined;
    for (const { resting, rest } of trials) {
      if (rest.trial === lease) rest.trial = undefined;
      this.#trialMoved(resting, rest, now);
    }
  }

  #trialMoved(resting: Resting, rest: Rest, now: number): void {
    this.changes.resting.add(resting);
    if (rest.trial === undefined) readySooner(resting);
    if (resting.kind === 'model') {
      if (rest.trial === undefined) this.#supplyModel((resting as Breaker).model);
      return;
    }
    if (resting.kind === 'project') this.#refreshProject(resting as Project, [rest], now);
    else (resting as Key).pool.refresh(resting as Key, now);
  }

  /** After cooldowns of a project changed: `touched` are those before and after. */
  #refreshProject(project: Project, touched: readonly Rest[], now: number): void {
    const models = new Set(touched.map((rest) => rest.model));
    if (models.has('')) {
      for (const key of project.keys) key.pool.refresh(key, now);
      this.regate(project, '', now);
    } else {
      for (const model of models) this.regate(project, model, now);
    }
  }

  #supplyModel(model: string): void {
    for (const pool of this.pools.values()) {
      if (pool.waiting > 0) pool.supplyLane(pool.lanes.get(model) ?? pool.general);
    }
  }

  /** Takes in a lease: a new one, one of an earlier run, or one whose end could not be stored. */
  hold(lease: Lease): void {
    const { key } = lease;
    const ofBoot = this.leases.get(lease.boot) ?? new Map<number, Lease>();
    this.leases.set(lease.boot, ofBoot);
    ofBoot.set(lease.seq, lease);
    key.leases.add(lease);
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
    if (lease.lastOutcome !== Outcome.UNSPECIFIED) this.unbook(lease, now);
    else if (state === LeaseState.EXPIRED && lease.key.pool.settings.autoSuccess) lease.lastOutcome = Outcome.SUCCESS;
    this.count(lease, endingOf(lease), 1);
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
    lease.key.leases.delete(lease);
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
    this.endTrials(lease, now);
  }

  #watchRests(resting: Resting, now: number): void {
    const next = nextChange(resting.rests, now);
    if (next === Infinity) this.restDeadlines.delete(resting);
    else this.restDeadlines.set(resting, next);
  }
}

/** What was foretold of when these keys serve again is too late. */
function readySooner(resting: Resting): void {
  for (const { pool } of (resting as Partial<Project>).places ?? resting.keys) pool.settingsVersion++;
}

const NO_KEYS: ReadonlySet<Key> = new Set();
/** Until a key that is being added joins its own. */
const NO_PROJECT = newProject('');

/** Lets the quota of a model go of which nothing would be lost. */
function dropIdleGate(gates: Map<string, Gate>): boolean {
  for (const [model, { meter, heapIndex }] of gates) {
    if (heapIndex >= 0 || meter.isLimited) continue;
    gates.delete(model);
    return true;
  }
  return false;
}

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
