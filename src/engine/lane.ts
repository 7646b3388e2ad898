import { WaitingQueue } from './waiting-queue.ts';

/** Tiers are 0 to 9. */
export const TIERS = 10;
/** Virtual time beyond which passes are counted anew: adding 1 / 1000 to a larger number would lose too much of it. */
const REBASE_AT = 2 ** 30;

/** What a turn changed, to take it back. */
export interface Turn {
  slot: number;
  pass: number;
  lastPick: number;
  virtualTime: number;
}

/**
 * The keys of a pool that may serve one model now, in weighted LRU order: stride scheduling on an indexed binary heap.
 *
 * Each key (a slot number of its pool) has a pass; the smallest is next and then moves on by 1 / weight. Equal passes go to the
 * least recently picked, then to the older key. V, the lane's virtual time, is the pass of the last pick: a new key starts at V,
 * one that returns starts at max(its pass, V), a change of weight rescales the distance to V. A pick that passed others over
 * leaves V one turn behind its own pass: those passed over keep their turn, yet a key that every call excludes does not hold V
 * back for ever, which would let each newcomer take all calls until it had caught up.
 *
 * Invariants: heaps[t] holds just the slots with position >= 0 and tier t; pass is NaN for a slot that this lane has not met; V
 * never goes back but by untake and rebase. Each tier has a virtual time of its own, since its keys turn on their own.
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
  size = 0;
  readonly virtualTimes = new Float64Array(TIERS);
  readonly #ordinals: ArrayLike<number>;
  readonly #heaps: Int32Array[] = Array.from({ length: TIERS }, () => new Int32Array(0));
  readonly #sizes = new Int32Array(TIERS);
  #pass: Float64Array;
  #lastPick: Float64Array;
  #weight: Float64Array;
  #position: Int32Array;
  #tier: Uint8Array;
  #farAhead = false;

  /** `ordinals` gives a slot's key ordinal, for ties. */
  constructor(id: number, model: string, ordinals: ArrayLike<number>, capacity: number) {
    this.id = id;
    this.model = model;
    this.#ordinals = ordinals;
    this.#pass = new Float64Array(capacity).fill(Number.NaN);
    this.#lastPick = new Float64Array(capacity);
    this.#weight = new Float64Array(capacity);
    this.#position = new Int32Array(capacity).fill(-1);
    this.#tier = new Uint8Array(capacity);
  }

  has(slot: number): boolean {
    return slot < this.#position.length && this.#position[slot]! >= 0;
  }

  pass(slot: number): number {
    return slot < this.#pass.length ? this.#pass[slot]! : Number.NaN;
  }

  lastPick(slot: number): number {
    return slot < this.#lastPick.length ? this.#lastPick[slot]! : 0;
  }

  /** Puts a key in, new or back from a rest. Nothing happens if it is in. */
  join(slot: number, tier: number, weight: number): void {
    this.#reserve(slot);
    if (this.#position[slot]! >= 0) return;
    this.reweigh(slot, weight);
    const virtualTime = this.virtualTimes[tier]!;
    const pass = this.#pass[slot]!;
    const known = !Number.isNaN(pass) && this.#tier[slot] === tier;
    if (!known || pass < virtualTime) {
      this.#pass[slot] = virtualTime;
      // A lane that is new would else have to store a turn for each key of its pool. Without one a key joins at V just so.
      if (!Number.isNaN(pass) || virtualTime > 0) this.touched.add(slot);
    }
    this.#tier[slot] = tier;
    this.#insert(slot);
  }

  /** Takes a key out; its pass stays for its return. */
  leave(slot: number): void {
    if (this.has(slot)) this.#remove(slot);
  }

  /** Takes a key out, and gives one that had a turn a place in another tier, as if it were new there. */
  changeTier(slot: number, tier: number): void {
    this.leave(slot);
    if (slot >= this.#pass.length || Number.isNaN(this.#pass[slot])) return;
    this.#tier[slot] = tier;
    this.#pass[slot] = this.virtualTimes[tier]!;
    this.touched.add(slot);
  }

  /** Takes a key out for good: the slot may come back as another key. */
  forget(slot: number): void {
    this.leave(slot);
    if (slot >= this.#pass.length) return;
    this.#pass[slot] = Number.NaN;
    this.#lastPick[slot] = 0;
    this.touched.delete(slot);
  }

  /** Gives a key its effective weight. Its debt, pass less V, is rescaled so that it stays as many turns. */
  reweigh(slot: number, weight: number): void {
    this.#reserve(slot);
    const old = this.#weight[slot]!;
    if (old === weight) return;
    this.#weight[slot] = weight;
    const pass = this.#pass[slot]!;
    if (old === 0 || Number.isNaN(pass)) return;
    const virtualTime = this.virtualTimes[this.#tier[slot]!]!;
    if (pass <= virtualTime) return;
    this.#pass[slot] = virtualTime + ((pass - virtualTime) * old) / weight;
    this.touched.add(slot);
    this.#settle(slot);
  }

  /** Sets what an earlier run stored, of a key that is in or not. */
  restore(slot: number, tier: number, pass: number, lastPick: number, weight: number): void {
    this.#reserve(slot);
    const isIn = this.has(slot);
    if (isIn) this.#remove(slot);
    // One that is in has come back just now, as from a rest that ended meanwhile.
    this.#pass[slot] = isIn ? Math.max(pass, this.virtualTimes[tier]!) : pass;
    this.#lastPick[slot] = lastPick;
    this.#tier[slot] = tier;
    this.#weight[slot] = weight;
    if (isIn) this.#insert(slot);
  }

  /** Slots that are in, in no order. */
  *slots(): Generator<number> {
    for (let tier = 0; tier < TIERS; tier++) yield* this.#heaps[tier]!.subarray(0, this.#sizes[tier]);
  }

  /** The next slot of the lowest tier that has one, -1 if none; slots that `skip` names are passed over. Takes no turn. */
  peek(skip?: (slot: number) => boolean): number {
    for (let tier = 0; tier < TIERS; tier++) {
      if (this.#sizes[tier] === 0) continue;
      const found = skip === undefined ? this.#heaps[tier]![0]! : this.#peekPast(tier, skip);
      if (found >= 0) return found;
    }
    return -1;
  }

  /** Of the given slots the one whose turn comes first, -1 if none is in. */
  first(slots: Iterable<number>): number {
    let best = -1;
    for (const slot of slots) {
      if (!this.has(slot)) continue;
      if (best < 0 || this.#tier[slot]! < this.#tier[best]!) best = slot;
      else if (this.#tier[slot] === this.#tier[best] && this.#before(slot, best)) best = slot;
    }
    return best;
  }

  /** Takes the turn of a slot that is in. `byTurn`: peek() chose it, rather than a wish for this very key or its project. */
  take(slot: number, byTurn: boolean): Turn {
    const tier = this.#tier[slot]!;
    const turn = {
      slot,
      pass: this.#pass[slot]!,
      lastPick: this.#lastPick[slot]!,
      virtualTime: this.virtualTimes[tier]!,
    };
    const stride = 1 / this.#weight[slot]!;
    // A key that was asked for by name says nothing about whose turn it is: V must not move past those that wait for theirs.
    const reached = this.#position[slot] === 0 ? turn.pass : byTurn ? turn.pass - stride : -Infinity;
    if (reached > turn.virtualTime) this.virtualTimes[tier] = reached;
    if (reached > REBASE_AT) this.#farAhead = true;
    this.#pass[slot] = turn.pass + stride;
    this.#lastPick[slot] = ++this.picks;
    this.touched.add(slot);
    this.#settle(slot);
    return turn;
  }

  /** Takes turns back, newest first, as if they had not been. */
  untake(turn: Turn): void {
    this.#pass[turn.slot] = turn.pass;
    this.#lastPick[turn.slot] = turn.lastPick;
    this.virtualTimes[this.#tier[turn.slot]!] = turn.virtualTime;
    this.touched.add(turn.slot);
    this.#settle(turn.slot);
  }

  /** Counts passes from V where they grew so large that adding a turn would lose precision. No turn may be taken back over it. */
  rebase(): void {
    if (!this.#farAhead) return;
    this.#farAhead = false;
    for (let tier = 0; tier < TIERS; tier++) {
      // Whole numbers, so that the subtraction is exact and the order stays.
      const base = Math.floor(this.virtualTimes[tier]!);
      if (base < REBASE_AT) continue;
      const slots = this.#heaps[tier]!.slice(0, this.#sizes[tier]);
      for (const slot of slots) this.#remove(slot);
      for (let slot = 0; slot < this.#pass.length; slot++) {
        if (this.#tier[slot] !== tier || Number.isNaN(this.#pass[slot])) continue;
        this.#pass[slot]! -= base;
        this.touched.add(slot);
      }
      this.virtualTimes[tier]! -= base;
      for (const slot of slots) this.#insert(slot);
    }
  }

  /** Sets aside who is passed over until one is found: O(passed over x log n). */
  #peekPast(tier: number, skip: (slot: number) => boolean): number {
    const aside: number[] = [];
    let found = -1;
    while (found < 0 && this.#sizes[tier]! > 0) {
      const first = this.#heaps[tier]![0]!;
      if (skip(first)) {
        aside.push(first);
        this.#remove(first);
      } else {
        found = first;
      }
    }
    for (const slot of aside) this.#insert(slot);
    return found;
  }

  #before(a: number, b: number): boolean {
    const passes = this.#pass[a]! - this.#pass[b]!;
    if (passes !== 0) return passes < 0;
    const picks = this.#lastPick[a]! - this.#lastPick[b]!;
    if (picks !== 0) return picks < 0;
    return this.#ordinals[a]! < this.#ordinals[b]!;
  }

  #insert(slot: number): void {
    const tier = this.#tier[slot]!;
    const size = this.#sizes[tier]!;
    let heap = this.#heaps[tier]!;
    if (size === heap.length) {
      heap = grown(heap, new Int32Array(Math.max(16, size * 2)));
      this.#heaps[tier] = heap;
    }
    heap[size] = slot;
    this.#position[slot] = size;
    this.#sizes[tier] = size + 1;
    this.size++;
    this.#settle(slot);
  }

  #remove(slot: number): void {
    const tier = this.#tier[slot]!;
    const heap = this.#heaps[tier]!;
    const index = this.#position[slot]!;
    const last = heap[this.#sizes[tier]! - 1]!;
    this.#position[slot] = -1;
    this.#sizes[tier]!--;
    this.size--;
    if (last === slot) return;
    heap[index] = last;
    this.#position[last] = index;
    this.#settle(last);
  }

  /** Moves a slot that is in to where its pass belongs. */
  #settle(slot: number): void {
    const start = this.#position[slot]!;
    if (start < 0) return;
    const heap = this.#heaps[this.#tier[slot]!]!;
    const size = this.#sizes[this.#tier[slot]!]!;
    let at = start;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.#before(slot, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      this.#position[heap[at]!] = at;
      at = parent;
    }
    for (;;) {
      let child = 2 * at + 1;
      if (child >= size) break;
      if (child + 1 < size && this.#before(heap[child + 1]!, heap[child]!)) child++;
      if (!this.#before(heap[child]!, slot)) break;
      heap[at] = heap[child]!;
      this.#position[heap[at]!] = at;
      at = child;
    }
    heap[at] = slot;
    this.#position[slot] = at;
  }

  #reserve(slot: number): void {
    const old = this.#pass.length;
    if (slot < old) return;
    const capacity = Math.max(16, old * 2, slot + 1);
    this.#pass = grown(this.#pass, new Float64Array(capacity).fill(Number.NaN));
    this.#lastPick = grown(this.#lastPick, new Float64Array(capacity));
    this.#weight = grown(this.#weight, new Float64Array(capacity));
    this.#position = grown(this.#position, new Int32Array(capacity).fill(-1));
    this.#tier = grown(this.#tier, new Uint8Array(capacity));
  }
}

function grown<T extends Float64Array | Int32Array | Uint8Array>(from: T, into: T): T {
  into.set(from);
  return into;
}
