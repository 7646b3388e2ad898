import { grown, LaneSlots } from './lane-slots.ts';
import { LaneTier } from './lane-tier.ts';
import { WaitingQueue } from './waiting-queue.ts';

/** Tiers are 0 to 9. */
export const TIERS = 10;
/** Virtual time beyond which passes are counted anew: adding 1 / 1000 to a larger number would lose too much of it. */
const REBASE_AT = 2 ** 30;

/** What a turn changed, to take it back. */
export interface Turn {
  slot: number;
  /** Not its rank: to be as before, it must not keep a floor that its group had. */
  pass: number;
  lastPick: number;
  virtualTime: number;
}

/**
 * The keys of a pool that may serve one model now, in weighted LRU order: stride scheduling on indexed binary heaps.
 *
 * Each key (a slot number of its pool) has a pass; the smallest is next and then moves on by 1 / weight. Equal passes go to the
 * least recently picked, then to the older key. V, the lane's virtual time, is the pass of the last pick: a new key starts at V,
 * one that returns starts at max(its pass, V), a change of weight rescales the distance to V. A pick that passed others over
 * leaves V one turn behind its own pass: those passed over keep their turn, yet a key that every call excludes does not hold V
 * back for ever, which would let each newcomer take all calls until it had caught up.
 *
 * Each key belongs to a group, a small number that its pool gives to its project. A group can be closed: its keys stay in, but
 * are not offered, and return together when it opens. Both cost as much as one key's leaving. A group that opens gets a floor,
 * V as it is then, and its keys' rank is max(pass, floor) from there on: what their pass would be had each come back by itself.
 * Order, V and debt go by the rank; of equal ranks the smaller pass is first.
 *
 * Invariants: a slot with position >= 0 is in, in the tier that its column says; the groups on offer in a tier are those that
 * are not closed; pass is NaN for a slot that this lane has not met; V never goes back but by untake and rebase, so floors are
 * beyond V at most by turns that were taken back. Each tier has a virtual time of its own, since its keys turn on their own.
 */
export class Lane {
  /** Number under which its turns are stored. */
  readonly id: number;
  /** "": the pool's general lane. */
  readonly model: string;
  readonly waiting = new WaitingQueue();
  /** Of those waiting, how many wait for several keys at once. */
  waitingBatches = 0;
  /** Slots whose turn changed since the store last asked. */
  readonly touched = new Set<number>();
  /** Last time an acquire came this way; idle lanes are dropped. */
  lastUsed = 0;
  picks = 0;
  /** No key is free of cooldowns for its model; kept by the pool. */
  exhausted = false;
  /** Group that a pool stays with until it is spent; -1: none yet. */
  current = -1;
  /** How many keys are on offer. */
  size = 0;
  readonly virtualTimes = new Float64Array(TIERS);
  readonly #slots: LaneSlots;
  /** Made when the first key joins: most pools have one. */
  readonly #tiers: (LaneTier | undefined)[] = Array.from({ length: TIERS }, () => undefined);
  /** By group: 1 if it is closed. */
  #closed = new Uint8Array(0);
  #farAhead = false;

  /** `ordinals` gives a slot's key ordinal, for ties. */
  constructor(id: number, model: string, ordinals: ArrayLike<number>, capacity: number) {
    this.id = id;
    this.model = model;
    this.#slots = new LaneSlots(ordinals, capacity);
  }

  /** Whether the slot is on offer: in, and its group open. */
  has(slot: number): boolean {
    return this.#slots.isIn(slot) && !this.isClosed(this.#slots.group[slot]!);
  }

  /** Whether the slot is in, its group open or closed. */
  isIn(slot: number): boolean {
    return this.#slots.isIn(slot);
  }

  /** The slot's rank, NaN if the lane has not met it. */
  pass(slot: number): number {
    return slot < this.#slots.length ? this.#rank(slot) : Number.NaN;
  }

  lastPick(slot: number): number {
    return slot < this.#slots.length ? this.#slots.lastPick[slot]! : 0;
  }

  /** The group in which the slot is or was last, -1 if the lane has not met it. */
  group(slot: number): number {
    return slot < this.#slots.length ? this.#slots.group[slot]! : -1;
  }

  isClosed(group: number): boolean {
    return group < this.#closed.length && this.#closed[group] === 1;
  }

  /** Takes all keys of the group off offer, and those that join it while it is closed. */
  close(group: number): void {
    if (this.isClosed(group)) return;
    if (group >= this.#closed.length) {
      this.#closed = grown(this.#closed, new Uint8Array(Math.max(16, this.#closed.length * 2, group + 1)));
    }
    this.#closed[group] = 1;
    for (const tier of this.#tiers) {
      if (tier === undefined) continue;
      tier.hide(group);
      this.size -= tier.sizeOf(group);
    }
  }

  /**
   * Offers the keys of a closed group again. Those that gained a floor are not `touched`, as that would cost a walk over them:
   * one restored from the pass that was stored before comes back at V, as from a rest.
   */
  open(group: number): void {
    if (!this.isClosed(group)) return;
    this.#closed[group] = 0;
    for (const [number, tier] of this.#tiers.entries()) {
      if (tier === undefined) continue;
      tier.show(group, this.virtualTimes[number]!);
      this.size += tier.sizeOf(group);
    }
  }

  /** Puts a key in, new or back from a rest, possibly in another group than before. Nothing happens if it is in. */
  join(slot: number, tier: number, weight: number, group: number): void {
    const slots = this.#slots;
    slots.reserve(slot);
    if (slots.isIn(slot)) return;
    this.reweigh(slot, weight);
    const virtualTime = this.virtualTimes[tier]!;
    const pass = slots.pass[slot]!;
    const known = !Number.isNaN(pass) && slots.tier[slot] === tier;
    const start = known ? Math.max(this.#rank(slot), virtualTime) : virtualTime;
    if (pass !== start) {
      slots.pass[slot] = start;
      // A lane that is new would else have to store a turn for each key of its pool. Without one a key joins at V just so.
      if (!Number.isNaN(pass) || virtualTime > 0) this.touched.add(slot);
    }
    slots.tier[slot] = tier;
    slots.group[slot] = group;
    this.#insert(slot);
  }

  /** Takes a key out; its pass stays for its return. */
  leave(slot: number): void {
    if (this.isIn(slot)) this.#remove(slot);
  }

  /** Takes a key out, and gives one that had a turn a place in another tier, as if it were new there. */
  changeTier(slot: number, tier: number): void {
    this.leave(slot);
    const slots = this.#slots;
    if (slot >= slots.length || Number.isNaN(slots.pass[slot])) return;
    slots.tier[slot] = tier;
    slots.pass[slot] = this.virtualTimes[tier]!;
    this.touched.add(slot);
  }

  /** Takes a key out for good: the slot may come back as another key. */
  forget(slot: number): void {
    this.leave(slot);
    const slots = this.#slots;
    if (slot >= slots.length) return;
    slots.pass[slot] = Number.NaN;
    slots.lastPick[slot] = 0;
    slots.group[slot] = -1;
    this.touched.delete(slot);
  }

  /** Gives a key its effective weight. Its debt, rank less V, is rescaled so that it stays as many turns. */
  reweigh(slot: number, weight: number): void {
    const slots = this.#slots;
    slots.reserve(slot);
    const old = slots.weight[slot]!;
    if (old === weight) return;
    slots.weight[slot] = weight;
    const rank = this.#rank(slot);
    if (old === 0 || Number.isNaN(rank)) return;
    const virtualTime = this.virtualTimes[slots.tier[slot]!]!;
    if (rank <= virtualTime) return;
    slots.pass[slot] = virtualTime + ((rank - virtualTime) * old) / weight;
    this.touched.add(slot);
    this.#settle(slot);
  }

  /** Sets what an earlier run stored, of a key that is in or not. */
  restore(slot: number, tier: number, pass: number, lastPick: number, weight: number): void {
    const slots = this.#slots;
    slots.reserve(slot);
    const isIn = this.isIn(slot);
    if (isIn) this.#remove(slot);
    // One that is in has come back just now, as from a rest that ended meanwhile.
    slots.pass[slot] = isIn ? Math.max(pass, this.virtualTimes[tier]!) : pass;
    slots.lastPick[slot] = lastPick;
    slots.tier[slot] = tier;
    slots.weight[slot] = weight;
    if (isIn) this.#insert(slot);
  }

  /** Slots on offer, in no order. */
  *slots(): Generator<number> {
    for (const tier of this.#tiers) if (tier !== undefined) yield* tier.offered();
  }

  /**
   * The next slot of the lowest tier that has one, -1 if none; slots that `skip` names are passed over, and so is, as a whole
   * and at the cost of one slot, each group that `skipGroup` names. Takes no turn.
   */
  peek(skip?: (slot: number) => boolean, skipGroup?: (group: number) => boolean): number {
    for (const tier of this.#tiers) {
      const found = tier === undefined ? -1 : tier.peek(skip, skipGroup);
      if (found >= 0) return found;
    }
    return -1;
  }

  /** The next slot of the group in the lowest tier that has any on offer; -1 if that tier has none of the group. */
  peekIn(group: number, skip?: (slot: number) => boolean): number {
    const lowest = this.#tiers.find((tier) => tier !== undefined && tier.first >= 0);
    return lowest === undefined || this.isClosed(group) ? -1 : lowest.peekIn(group, skip);
  }

  /** Of the given slots the one whose turn comes first, -1 if none is on offer. */
  first(slots: Iterable<number>): number {
    let best = -1;
    for (const slot of slots) if (this.has(slot) && (best < 0 || this.#before(slot, best))) best = slot;
    return best;
  }

  /** Takes the turn of a slot that is in. `byTurn`: peek() chose it, rather than a wish for this very key or its project. */
  take(slot: number, byTurn: boolean): Turn {
    const slots = this.#slots;
    const tier = slots.tier[slot]!;
    const turn = {
      slot,
      pass: slots.pass[slot]!,
      lastPick: slots.lastPick[slot]!,
      virtualTime: this.virtualTimes[tier]!,
    };
    const rank = this.#rank(slot);
    const stride = 1 / slots.weight[slot]!;
    // A key that was asked for by name says nothing about whose turn it is: V must not move past those that wait for theirs.
    const reached = this.#tiers[tier]!.first === slot ? rank : byTurn ? rank - stride : -Infinity;
    if (reached > turn.virtualTime) this.virtualTimes[tier] = reached;
    if (reached > REBASE_AT) this.#farAhead = true;
    slots.pass[slot] = rank + stride;
    slots.lastPick[slot] = ++this.picks;
    this.touched.add(slot);
    this.#settle(slot);
    return turn;
  }

  /** Takes turns back, newest first, as if they had not been. */
  untake(turn: Turn): void {
    const slots = this.#slots;
    slots.pass[turn.slot] = turn.pass;
    slots.lastPick[turn.slot] = turn.lastPick;
    this.virtualTimes[slots.tier[turn.slot]!] = turn.virtualTime;
    this.touched.add(turn.slot);
    this.#settle(turn.slot);
  }

  /** Counts passes from V where they grew so large that adding a turn would lose precision. No turn may be taken back over it. */
  rebase(): void {
    if (!this.#farAhead) return;
    this.#farAhead = false;
    const slots = this.#slots;
    for (const [number, tier] of this.#tiers.entries()) {
      // Whole numbers, so that the subtraction is exact and the order stays.
      const base = Math.floor(this.virtualTimes[number]!);
      if (tier === undefined || base < REBASE_AT) continue;
      const all = [...tier.slots()];
      for (const slot of all) this.#remove(slot);
      for (let slot = 0; slot < slots.length; slot++) {
        if (slots.tier[slot] !== number || Number.isNaN(slots.pass[slot])) continue;
        slots.pass[slot]! -= base;
        this.touched.add(slot);
      }
      tier.lowerFloors(base);
      this.virtualTimes[number]! -= base;
      for (const slot of all) this.#insert(slot);
    }
  }

  #rank(slot: number): number {
    return this.#tiers[this.#slots.tier[slot]!]?.rank(slot) ?? this.#slots.pass[slot]!;
  }

  #before(a: number, b: number): boolean {
    const tiers = this.#slots.tier[a]! - this.#slots.tier[b]!;
    if (tiers !== 0) return tiers < 0;
    const ranks = this.#rank(a) - this.#rank(b);
    return ranks !== 0 ? ranks < 0 : this.#slots.precedes(a, b);
  }

  #insert(slot: number): void {
    const number = this.#slots.tier[slot]!;
    const open = !this.isClosed(this.#slots.group[slot]!);
    let tier = this.#tiers[number];
    if (tier === undefined) {
      tier = new LaneTier(this.#slots);
      this.#tiers[number] = tier;
    }
    tier.insert(slot, open);
    if (open) this.size++;
  }

  #remove(slot: number): void {
    this.#tiers[this.#slots.tier[slot]!]!.remove(slot);
    if (!this.isClosed(this.#slots.group[slot]!)) this.size--;
  }

  #settle(slot: number): void {
    if (this.isIn(slot)) this.#tiers[this.#slots.tier[slot]!]!.settle(slot);
  }
}
