/** What a lane keeps of each slot, in columns. A slot beyond their length is one that the lane has not met. */
export class LaneSlots {
  /** NaN: the lane has not met the slot. */
  pass: Float64Array;
  /** Number of the lane's pick that took the slot last, 0 if none did. */
  lastPick: Float64Array;
  weight: Float64Array;
  /** -1: the slot is out. Else where its tier finds it. */
  position: Int32Array;
  tier: Uint8Array;
  /** -1: none yet. That of a slot that is out is the one it was in last. */
  group: Int32Array;
  readonly #ordinals: ArrayLike<number>;

  /** `ordinals` gives a slot's key ordinal, for ties. */
  constructor(ordinals: ArrayLike<number>, capacity: number) {
    this.#ordinals = ordinals;
    this.pass = new Float64Array(capacity).fill(Number.NaN);
    this.lastPick = new Float64Array(capacity);
    this.weight = new Float64Array(capacity);
    this.position = new Int32Array(capacity).fill(-1);
    this.tier = new Uint8Array(capacity);
    this.group = new Int32Array(capacity).fill(-1);
  }

  get length(): number {
    return this.pass.length;
  }

  isIn(slot: number): boolean {
    return slot < this.position.length && this.position[slot]! >= 0;
  }

  /** Whether `a` comes before `b` where their ranks are equal. Never so for `b` before `a` too: no two slots share an ordinal. */
  precedes(a: number, b: number): boolean {
    const passes = this.pass[a]! - this.pass[b]!;
    if (passes !== 0) return passes < 0;
    const picks = this.lastPick[a]! - this.lastPick[b]!;
    if (picks !== 0) return picks < 0;
    return this.#ordinals[a]! < this.#ordinals[b]!;
  }

  reserve(slot: number): void {
    const old = this.pass.length;
    if (slot < old) return;
    const capacity = Math.max(16, old * 2, slot + 1);
    this.pass = grown(this.pass, new Float64Array(capacity).fill(Number.NaN));
    this.lastPick = grown(this.lastPick, new Float64Array(capacity));
    this.weight = grown(this.weight, new Float64Array(capacity));
    this.position = grown(this.position, new Int32Array(capacity).fill(-1));
    this.tier = grown(this.tier, new Uint8Array(capacity));
    this.group = grown(this.group, new Int32Array(capacity).fill(-1));
  }
}

export function grown<T extends Float64Array | Int32Array | Uint8Array>(from: T, into: T): T {
  into.set(from);
  return into;
}
