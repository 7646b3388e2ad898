import { LRUCache } from 'lru-cache';
import { KeyState } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import type { Changes } from './changes.ts';
import { noCounters } from './counters.ts';
import {
  allowsModel,
  effectiveWeight,
  isFull,
  type Key,
  type Place,
  type Project,
  projectReadyAt,
  restingUntil,
  stateOf,
} from './key.ts';
import { Lane } from './lane.ts';
import type { Moment } from './quota/moment.ts';
import { restsUntil } from './rest.ts';
import type { KeySettings, PoolSettings } from './settings.ts';
import { noUsage, type UsageCounts } from './usage.ts';

/** Lanes a pool may have beside its general one: clients choose model names. */
const MAX_LANES = 64;
/** A lane that nobody used for so long may give its place to another model. */
const IDLE_LANE_MS = 600_000;
/** Affinity keys a pool remembers; the least recently used are let go. */
const MAX_AFFINITIES = 100_000;
/** A quota that is used up for longer is no mere matter of pace. */
const SPENT_MS = 60_000;
/** Every number from 2 ** -10 up to 2 ** 11, as weights are, is so many of these and no part of one. */
const WEIGHT_UNIT = 2 ** -62;

/** What one model's calls of a pool used. */
export interface ModelUsage {
  readonly pool: Pool;
  readonly model: string;
  readonly counts: UsageCounts;
  active: number;
}

/** What a pool needs of the engine. */
export interface PoolHost {
  changes(): Changes;
  newLaneId(): number;
  moment(now: number): Moment;
  /** Pools with waiting acquires that may be served now. */
  readonly supplied: Set<Pool>;
}

/** A pool: its keys, the lanes in which they take turns, and what is counted for all of them together. */
export class Pool {
  readonly name: string;
  settings: PoolSettings;
  version = 1;
  /** By slot. */
  readonly keys: (Key | undefined)[] = [];
  /** By slot: the keys' ordinals, by which lanes break ties. */
  readonly ordinals: number[] = [];
  /** By group: the project whose keys are in it. */
  readonly groups: (Project | undefined)[] = [];
  keyCount = 0;
  /** Keys by KeyState. */
  readonly states = new Int32Array(6);
  /** Keys by source; those without one are left out. */
  readonly keysBySource = new Map<string, number>();
  /** Counts up whenever keys may serve sooner, or other calls, than they were to: an operator's doing, or a rest cut short. */
  settingsVersion = 0;
  readonly general: Lane;
  readonly lanes = new Map<string, Lane>();
  active = 0;
  waiting = 0;
  /** Of all its keys, deleted ones too. */
  readonly usage = noUsage();
  readonly modelUsage = new Map<string, ModelUsage>();
  acquiresRejected = 0;
  readonly failuresByClass: Record<string, number> = {};
  readonly counters = noCounters();
  /** Keys that may serve an acquire that they could not serve when waiting acquires were last served. */
  readonly fresh = new Set<Key>();
  /** Lanes that whole projects came back to since. */
  readonly freshLanes = new Set<Lane>();
  /** By caller: keys that are in quarantine on its word alone. */
  readonly onWord = new Map<string, number>();
  /** Projects whose quota has more room since. */
  readonly freshProjects = new Set<Project>();
  #affinities: LRUCache<string, Key> | undefined;
  readonly #freeSlots: number[] = [];
  readonly #freeGroups: number[] = [];
  /**
   * Sum of the keys' weights in units of WEIGHT_UNIT. Whole, since a sum of floating-point numbers that are added and taken away
   * for months would drift.
   */
  #weights = 0n;
  readonly #host: PoolHost;

  /** `generalLaneId`: of an earlier run. */
  constructor(settings: PoolSettings, host: PoolHost, generalLaneId?: number) {
    this.name = settings.pool;
    this.settings = settings;
    this.#host = host;
    this.general = new Lane(generalLaneId ?? host.newLaneId(), '', this.ordinals, 16);
    this.lanes.set('', this.general);
  }

  /** By affinity key. The key may have been deleted since. Bounded by size and not by `max`, which sets aside megabytes at once. */
  get affinities(): LRUCache<string, Key> {
    this.#affinities ??= new LRUCache({
      maxSize: MAX_AFFINITIES,
      sizeCalculation: () => 1,
      disposeAfter: (_key, affinityKey) => this.#host.changes().affinity(this, affinityKey),
    });
    return this.#affinities;
  }

  /** Something about the key changed so that it may serve an acquire that waits. */
  supply(key: Key): void {
    if (this.waiting === 0) return;
    this.fresh.add(key);
    this.#host.supplied.add(this);
  }

  /** Something that waiting acquires of the lane could not have may be had again. */
  supplyLane(lane: Lane): void {
    if (this.waiting === 0) return;
    this.freshLanes.add(lane);
    // Who came before the model had a lane waits there.
    if (this.general.waiting.size > 0) this.freshLanes.add(this.general);
    this.#host.supplied.add(this);
  }

  /** Other limits hold for the model ("": for all): whoever waits for more than there is room for is to learn anew when there will be. */
  supplyModel(model: string): void {
    for (const lane of this.lanes.values()) if (model === '' || lane.model === model) this.supplyLane(lane);
  }

  /** Calls of the project were booked as larger than they were, or were not made. */
  supplyProject(project: Project): void {
    if (this.waiting === 0) return;
    this.freshProjects.add(project);
    this.#host.supplied.add(this);
  }

  /** All who wait were asked, or nobody waits. */
  nothingFresh(): void {
    this.fresh.clear();
    this.freshLanes.clear();
    this.freshProjects.clear();
  }

  /** Puts a key among those of its project. */
  joinGroup(key: Key, now: number): void {
    const { project } = key;
    let place = project.places.find((each) => each.pool === this);
    if (place === undefined) {
      place = { pool: this, group: this.#freeGroups.pop() ?? this.groups.length, keys: 0 };
      // Most have one: to push it to an empty list would set room aside for 17.
      project.places = [...project.places, place];
      this.groups[place.group] = project;
      const at = this.#host.moment(now);
      for (const lane of this.lanes.values()) gate(lane, place.group, project, at);
      for (const model of project.gates?.keys() ?? []) this.supplyModel(model);
    }
    place.keys++;
    key.group = place.group;
  }

  /** Takes a key from among those of its project, and so out of the lanes. */
  leaveGroup(key: Key): void {
    this.withdraw(key);
    const { project } = key;
    const place = project.places.find((each) => each.pool === this)!;
    if (--place.keys > 0) return;
    project.places = project.places.filter((each) => each !== place);
    this.groups[place.group] = undefined;
    this.#freeGroups.push(place.group);
    for (const lane of this.lanes.values()) {
      lane.open(place.group);
      if (lane.current === place.group) lane.current = -1;
    }
  }

  /** Offers or withholds a project's keys in the lanes of a model ("": of every model), as its cooldowns and quota say. */
  gate({ group }: Place, project: Project, model: string, at: Moment): void {
    const named = this.lanes.get(model);
    const lanes = model === '' ? this.lanes.values() : named === undefined ? [] : [named];
    for (const lane of lanes) {
      const opened = gate(lane, group, project, at);
      if (opened === undefined) continue;
      if (opened) {
        this.settingsVersion++;
        this.supplyLane(lane);
      }
      this.checkModel(lane, at);
    }
    // Of models without a lane of their own it holds the waiting acquires.
    if (named === undefined || model === '') this.supplyLane(this.general);
  }

  /** Notes whether a model ran out of keys that neither rest nor have used up a day's quota, or got some back. */
  checkModel(lane: Lane, at: Moment): void {
    if (lane === this.general) return;
    const exhausted = lane.size === 0 && (lane.exhausted || this.#lacksKeyFor(lane, at));
    if (exhausted !== lane.exhausted) this.#tell(lane, exhausted);
  }

  #tell(lane: Lane, exhausted: boolean): void {
    lane.exhausted = exhausted;
    this.#host.changes().shift({ pool: this, model: lane.model, exhausted });
  }

  /**
   * Whether no key is free of cooldowns for the model, though keys may serve it. One is whose leases are all out or whose minute is
   * full.
   */
  #lacksKeyFor({ model }: Lane, at: Moment): boolean {
    let isServed = false;
    for (const key of this.keys) {
      if (key === undefined || !allowsModel(key, model)) continue;
      isServed = true;
      if (key.state !== KeyState.AVAILABLE || restingUntil(key, model, at.now) > 0) continue;
      const meter = key.project.gates?.get(model)?.meter;
      if (meter === undefined || meter.readyAt(1, at) <= at.now + SPENT_MS) return false;
    }
    // Of a model that no key serves nothing ran out.
    return isServed;
  }

  /** A place for a new key. */
  claimSlot(): number {
    return this.#freeSlots.pop() ?? this.keys.length;
  }

  add(key: Key): void {
    this.keys[key.slot] = key;
    this.ordinals[key.slot] = key.ordinal;
    this.keyCount++;
    this.states[key.state]!++;
    this.recount(undefined, key.settings);
    this.#shift(KeyState.UNSPECIFIED, key.state);
  }

  /** Of a key that has left its group. */
  remove(key: Key): void {
    for (const lane of this.lanes.values()) lane.forget(key.slot);
    this.keys[key.slot] = undefined;
    this.fresh.delete(key);
    this.#freeSlots.push(key.slot);
    this.keyCount--;
    this.states[key.state]!--;
    this.recount(key.settings, undefined);
    this.#shift(key.state, KeyState.UNSPECIFIED);
  }

  /** A key came (`before` is undefined), went (`after` is) or has other settings. */
  recount(before: KeySettings | undefined, after: KeySettings | undefined): void {
    this.settingsVersion++;
    if (before !== undefined) this.#count(before, -1);
    if (after !== undefined) this.#count(after, 1);
  }

  /** Of the operator's weights, not the effective ones; 0 without keys. */
  get averageWeight(): number {
    return this.keyCount === 0 ? 0 : (Number(this.#weights) * WEIGHT_UNIT) / this.keyCount;
  }

  /** Brings a key's state, its weight and its places in the lanes up to date after anything about it changed. */
  refresh(key: Key, now: number): void {
    const state = stateOf(key, now);
    if (state !== key.state) {
      const previous = key.state;
      this.#host.changes().announce(key, previous);
      this.states[previous]!--;
      this.states[state]!++;
      key.state = state;
      this.#shift(previous, state);
    }
    this.place(key, now);
    // Its rests, models or project may be others although its places in the lanes are the same.
    this.supply(key);
    this.checkModels(now);
  }

  /** Of all models that have a lane. */
  checkModels(now: number): void {
    if (this.lanes.size === 1) return;
    const at = this.#host.moment(now);
    for (const lane of this.lanes.values()) if (lane.exhausted || lane.size === 0) this.checkModel(lane, at);
  }

  /** Puts the key into the lanes that it may serve now, takes it out of the others. */
  place(key: Key, now: number): void {
    const open = key.state === KeyState.AVAILABLE && !isFull(key);
    const weight = effectiveWeight(key);
    for (const lane of this.lanes.values()) {
      if (open && servesAlone(key, lane.model, now)) {
        if (lane.isIn(key.slot)) lane.reweigh(key.slot, weight);
        else this.#join(lane, key, weight);
      } else {
        lane.leave(key.slot);
        lane.reweigh(key.slot, weight);
      }
      if (lane.touched.size > 0) this.#host.changes().lanes.set(lane, this);
    }
  }

  /** Takes the key out of every lane, as when its last free lease went. */
  withdraw(key: Key): void {
    for (const lane of this.lanes.values()) lane.leave(key.slot);
  }

  /** Takes the key out of every lane, and its turns along to its new tier, whether it may serve now or not. */
  changeTier(key: Key): void {
    for (const lane of this.lanes.values()) lane.changeTier(key.slot, key.settings.tier);
  }

  /** The lane in which to look for a key for the model: the model's own, made on first use, or the general one. */
  laneFor(model: string, now: number): Lane {
    let lane = this.lanes.get(model);
    if (lane === undefined) {
      if (this.lanes.size > MAX_LANES && !this.#dropIdleLane(now)) {
        this.general.rebase();
        return this.general;
      }
      lane = new Lane(this.#host.newLaneId(), model, this.ordinals, this.keys.length);
      this.lanes.set(model, lane);
      const at = this.#host.moment(now);
      for (const [group, project] of this.groups.entries()) if (project !== undefined) gate(lane, group, project, at);
      for (const key of this.keys) {
        if (key !== undefined && key.state === KeyState.AVAILABLE && !isFull(key) && servesAlone(key, model, now)) {
          this.#join(lane, key, effectiveWeight(key));
        }
      }
    }
    lane.lastUsed = now;
    lane.rebase();
    return lane;
  }

  /** Counts of the model; models beyond the bound are counted together under "". */
  usageOf(model: string): ModelUsage {
    let usage = this.modelUsage.get(model);
    if (usage === undefined) {
      const named = this.modelUsage.size - (this.modelUsage.has('') ? 1 : 0);
      const name = named < MAX_LANES ? model : '';
      usage = this.modelUsage.get(name) ?? { pool: this, model: name, counts: noUsage(), active: 0 };
      this.modelUsage.set(name, usage);
    }
    return usage;
  }

  /** Keys that are neither disabled nor suspected. */
  get enabledKeys(): number {
    return this.states[KeyState.AVAILABLE]! + this.states[KeyState.COOLING]! + this.states[KeyState.QUARANTINED]!;
  }

  #count({ source, weight }: KeySettings, by: 1 | -1): void {
    this.#weights += BigInt(Math.round(weight / WEIGHT_UNIT) * by);
    if (source === '') return;
    const count = (this.keysBySource.get(source) ?? 0) + by;
    if (count > 0) this.keysBySource.set(source, count);
    else this.keysBySource.delete(source);
  }

  #join(lane: Lane, key: Key, weight: number): void {
    lane.join(key.slot, key.settings.tier, weight, key.group);
    // Also when a key is new, or gave a lease back.
    if (lane.exhausted && lane.size > 0) this.#tell(lane, false);
    this.supply(key);
  }

  #shift(from: KeyState, to: KeyState): void {
    const available = this.states[KeyState.AVAILABLE]!;
    const gained = to === KeyState.AVAILABLE && available === 1;
    const lost = from === KeyState.AVAILABLE && to !== KeyState.AVAILABLE && available === 0;
    if (gained || lost) this.#host.changes().shift({ pool: this, model: '', exhausted: lost });
  }

  #dropIdleLane(now: number): boolean {
    let idlest: Lane | undefined;
    for (const lane of this.lanes.values()) {
      if (lane === this.general || lane.waiting.size > 0 || now - lane.lastUsed < IDLE_LANE_MS) continue;
      if (idlest === undefined || lane.lastUsed < idlest.lastUsed) idlest = lane;
    }
    if (idlest === undefined) return false;
    this.lanes.delete(idlest.model);
    this.#host.changes().lanes.delete(idlest);
    this.#host.changes().droppedLanes.add(idlest.id);
    return true;
  }
}

/** Whether an available key may serve the model now, caps aside. */
export function serves(key: Key, model: string, tokens: number, at: Moment): boolean {
  return servesAlone(key, model, at.now) && projectReadyAt(key.project, model, tokens, at) === 0;
}

/** The same, its project aside: that keeps all its keys together out of a lane. */
function servesAlone(key: Key, model: string, now: number): boolean {
  return allowsModel(key, model) && (key.rests.length === 0 || restsUntil(key.rests, model, now) === 0);
}

/** Opens or closes a lane to a project. Returns which, undefined if it was so before. */
function gate(lane: Lane, group: number, project: Project, at: Moment): boolean | undefined {
  const ready = projectReadyAt(project, lane.model, 0, at) === 0;
  if (ready !== lane.isClosed(group)) return undefined;
  if (ready) lane.open(group);
  else lane.close(group);
  return ready;
}
