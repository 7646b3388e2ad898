import { grown, type LaneSlots } from './lane-slots.ts';

/** Position of a leader whose group is not on offer. */
const HIDDEN = 2 ** 31 - 1;
/** Lead of a group that has no slot in this tier. */
const NONE = -1;

/**
 * The slots of one tier of a lane, in two levels: each group keeps its slots in a binary heap, led by the one that comes first,
 * and the leaders of the groups on offer are in a binary heap of the tier. So a whole group goes and returns at the cost of one
 * slot, and a tier in which each slot is a group of its own is a plain heap of slots.
 *
 * A slot's rank is its pass or its group's floor, whichever is greater. Inside a group the order by pass, last pick and ordinal
 * is the order by rank too, whatever the floor: to raise it moves none of the group's slots.
 *
 * Invariants: leads[g] is NONE, or the only slot that group g has, or -2 - b where bundles[b] is the heap of its slots (that may
 * have come down to one); ranks[i] is the rank of the leader heap[i]; the position of a leader is its index in the heap of the
 * tier, or HIDDEN, that of any other slot its index in its group's heap, which is never 0.
 */
export class LaneTier {
  readonly #slots: LaneSlots;
  #heap = new Int32Array(0);
  /** Beside the heap, so that a comparison need not look its slots up. */
  #ranks = new Float64Array(0);
  /** How many groups are on offer. */
  #offered = 0;
  #leads = new Int32Array(0);
  /** Made when the first is set: most tiers never have one. */
  #floors: Float64Array | undefined;
  readonly #bundles: number[][] = [];
  readonly #freeBundles: number[] = [];

  constructor(slots: LaneSlots) {
    this.#slots = slots;
  }

  /** The slot that comes first of those on offer, -1 if none is. */
  get first(): number {
    return this.#offered > 0 ? this.#heap[0]! : -1;
  }

  /** Those on offer, in no order. */
  *offered(): Generator<number> {
    for (let index = 0; index < this.#offered; index++) yield* this.#groupOf(this.#heap[index]!);
  }

  /** Those that are in, on offer or not, in no order. */
  *slots(): Generator<number> {
    for (let group = 0; group < this.#leads.length; group++) {
      const leader = this.#leaderOf(group);
      if (leader >= 0) yield* this.#groupOf(leader);
    }
  }

  /** NaN for a slot that the lane has not met. */
  rank(slot: number): number {
    const pass = this.#slots.pass[slot]!;
    if (this.#floors === undefined) return pass;
    const floor = this.#floors[this.#slots.group[slot]!];
    return floor !== undefined && floor > pass ? floor : pass;
  }

  /** How many slots of the group are in. */
  sizeOf(group: number): number {
    const lead = this.#lead(group);
    return lead < NONE ? this.#bundles[-2 - lead]!.length : lead === NONE ? 0 : 1;
  }

  /** Puts in a slot that is out, into its group. `offered`: whether the group is on offer. */
  insert(slot: number, offered: boolean): void {
    const group = this.#slots.group[slot]!;
    const { position } = this.#slots;
    this.#reserve(group);
    const lead = this.#leads[group]!;
    if (lead === NONE) {
      this.#leads[group] = slot;
      position[slot] = HIDDEN;
      if (offered) this.#offer(slot);
      return;
    }
    const bundle = lead < NONE ? this.#bundles[-2 - lead]! : this.#newBundle(group, lead);
    const leader = bundle[0]!;
    const place = position[leader]!;
    bundle.push(slot);
    this.#settleInGroup(bundle, bundle.length - 1);
    if (bundle[0] !== leader) this.#replaceLeader(bundle[0]!, place);
  }

  /** Takes out a slot that is in. */
  remove(slot: number): void {
    const { position, group } = this.#slots;
    const lead = this.#leads[group[slot]!]!;
    const bundle = lead < NONE ? this.#bundles[-2 - lead]! : undefined;
    const leader = bundle === undefined ? slot : bundle[0]!;
    const place = position[leader]!;
    const index = leader === slot ? 0 : position[slot]!;
    position[slot] = -1;
    const last = bundle?.pop() ?? slot;
    if (bundle === undefined || bundle.length === 0) {
      this.#leads[group[slot]!] = NONE;
      if (bundle !== undefined) this.#freeBundles.push(-2 - lead);
      if (place !== HIDDEN) this.#removeAt(place);
    } else if (last !== slot) {
      bundle[index] = last;
      this.#settleInGroup(bundle, index);
      if (leader === slot) this.#replaceLeader(bundle[0]!, place);
    }
  }

  /** Moves a slot that is in to where its changed pass or last pick belongs. */
  settle(slot: number): void {
    const { position } = this.#slots;
    const lead = this.#leads[this.#slots.group[slot]!]!;
    if (lead >= 0) {
      this.#replaceLeader(slot, position[slot]!);
      return;
    }
    const bundle = this.#bundles[-2 - lead]!;
    const leader = bundle[0]!;
    const place = position[leader]!;
    this.#settleInGroup(bundle, leader === slot ? 0 : position[slot]!);
    if (leader === slot || bundle[0] === slot) this.#replaceLeader(bundle[0]!, place);
  }

  /** Takes the group off offer; its slots stay in. */
  hide(group: number): void {
    const leader = this.#leaderOf(group);
    if (leader < 0) return;
    this.#removeAt(this.#slots.position[leader]!);
    this.#slots.position[leader] = HIDDEN;
  }

  /** Puts a hidden group back on offer. None of the slots that it has now ranks before the floor any more. */
  show(group: number, floor: number): void {
    const leader = this.#leaderOf(group);
    if (leader < 0) return;
    this.#floors ??= new Float64Array(this.#leads.length).fill(-Infinity);
    this.#floors[group] = floor;
    this.#offer(leader);
  }

  /** Takes so much off the floors. No slot may be in. */
  lowerFloors(by: number): void {
    if (this.#floors === undefined) return;
    for (let group = 0; group < this.#floors.length; group++) this.#floors[group]! -= by;
  }

  /** The slot that comes first of those on offer that nobody skips. Sets aside who is passed over: O(passed over x log n). */
  peek(skip?: (slot: number) => boolean, skipGroup?: (group: number) => boolean): number {
    const slots: number[] = [];
    const leaders: number[] = [];
    let found = -1;
    while (found < 0 && this.#offered > 0) {
      const first = this.#heap[0]!;
      if (skipGroup?.(this.#slots.group[first]!)) {
        leaders.push(first);
        this.#removeAt(0);
      } else if (skip?.(first)) {
        slots.push(first);
        this.remove(first);
      } else {
        found = first;
      }
    }
    for (const leader of leaders) this.#offer(leader);
    for (const slot of slots) this.insert(slot, true);
    return found;
  }

  /** The same of one group that is on offer. */
  peekIn(group: number, skip?: (slot: number) => boolean): number {
    const slots: number[] = [];
    let found = this.#leaderOf(group);
    while (skip !== undefined && found >= 0 && skip(found)) {
      slots.push(found);
      this.remove(found);
      found = this.#leaderOf(group);
    }
    for (const slot of slots) this.insert(slot, true);
    return found;
  }

  #lead(group: number): number {
    return group < this.#leads.length ? this.#leads[group]! : NONE;
  }

  /** -1 if the group has no slot in this tier. */
  #leaderOf(group: number): number {
    const lead = this.#lead(group);
    return lead < NONE ? this.#bundles[-2 - lead]![0]! : lead;
  }

  #groupOf(leader: number): readonly number[] {
    const lead = this.#leads[this.#slots.group[leader]!]!;
    return lead < NONE ? this.#bundles[-2 - lead]! : [leader];
  }

  #newBundle(group: number, slot: number): number[] {
    const index = this.#freeBundles.pop() ?? this.#bundles.push([]) - 1;
    this.#leads[group] = -2 - index;
    const bundle = this.#bundles[index]!;
    bundle.push(slot);
    return bundle;
  }

  #offer(leader: number): void {
    if (this.#offered === this.#heap.length) {
      const capacity = Math.max(16, this.#offered * 2);
      this.#heap = grown(this.#heap, new Int32Array(capacity));
      this.#ranks = grown(this.#ranks, new Float64Array(capacity));
    }
    this.#settleAt(this.#offered++, leader, this.rank(leader));
  }

  #removeAt(index: number): void {
    const last = --this.#offered;
    if (index !== last) this.#settleAt(index, this.#heap[last]!, this.#ranks[last]!);
  }

  /** The group whose leader was at the place has this leader now, or the same with another rank. */
  #replaceLeader(leader: number, place: number): void {
    if (place === HIDDEN) this.#slots.position[leader] = HIDDEN;
    else this.#settleAt(place, leader, this.rank(leader));
  }

  /** Puts the leader into the heap of the tier, from the given index to where it belongs. */
  #settleAt(start: number, leader: number, rank: number): void {
    const heap = this.#heap;
    const ranks = this.#ranks;
    const slots = this.#slots;
    const { position } = slots;
    const size = this.#offered;
    let at = start;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = ranks[parent]!;
      if (rank > above || (rank === above && !slots.precedes(leader, heap[parent]!))) break;
      heap[at] = heap[parent]!;
      ranks[at] = above;
      position[heap[at]!] = at;
      at = parent;
    }
    for (;;) {
      let child = 2 * at + 1;
      if (child >= size) break;
      let below = ranks[child]!;
      if (child + 1 < size) {
        const other = ranks[child + 1]!;
        if (other < below || (other === below && slots.precedes(heap[child + 1]!, heap[child]!))) {
          child++;
          below = other;
        }
      }
      if (rank < below || (rank === below && !slots.precedes(heap[child]!, leader))) break;
      heap[at] = heap[child]!;
      ranks[at] = below;
      position[heap[at]!] = at;
      at = child;
    }
    heap[at] = leader;
    ranks[at] = rank;
    position[leader] = at;
  }

  /** Moves the slot at the index to where it belongs in its group. The caller sees to who leads the group. */
  #settleInGroup(bundle: number[], start: number): void {
    const slots = this.#slots;
    const { position } = slots;
    const slot = bundle[start]!;
    let at = start;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!slots.precedes(slot, bundle[parent]!)) break;
      bundle[at] = bundle[parent]!;
      position[bundle[at]!] = at;
      at = parent;
    }
    for (;;) {
      let child = 2 * at + 1;
      if (child >= bundle.length) break;
      if (child + 1 < bundle.length && slots.precedes(bundle[child + 1]!, bundle[child]!)) child++;
      if (!slots.precedes(bundle[child]!, slot)) break;
      bundle[at] = bundle[child]!;
      position[bundle[at]!] = at;
      at = child;
    }
    bundle[at] = slot;
    position[slot] = at;
  }

  #reserve(group: number): void {
    const old = this.#leads.length;
    if (group < old) return;
    const capacity = Math.max(16, old * 2, group + 1);
    this.#leads = grown(this.#leads, new Int32Array(capacity).fill(NONE));
    if (this.#floors !== undefined) {
      this.#floors = grown(this.#floors, new Float64Array(capacity).fill(-Infinity));
    }
  }
}
