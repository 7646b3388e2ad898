interface Entry {
  pass: number;
  lastPick: number;
  weight: number;
  tier: number;
  /** -1: it never joined. */
  group: number;
  isIn: boolean;
}

export interface NaiveTurn {
  slot: number;
  pass: number;
  lastPick: number;
  v: number;
}

/** What a lane has to do, said with plain lists and searches. A slot's number is its ordinal. */
export class NaiveLane {
  readonly entries = new Map<number, Entry>();
  readonly v = new Map<number, number>();
  readonly closed = new Set<number>();
  /** By "tier group". */
  readonly floors = new Map<string, number>();
  picks = 0;

  join(slot: number, tier: number, weight: number, group: number): void {
    const known = this.entries.get(slot);
    if (known?.isIn) return;
    this.reweigh(slot, weight);
    const v = this.#v(tier);
    const pass = known !== undefined && known.tier === tier ? Math.max(this.rank(slot), v) : v;
    this.entries.set(slot, { pass, lastPick: known?.lastPick ?? 0, weight, tier, group, isIn: true });
  }

  leave(slot: number): void {
    const entry = this.entries.get(slot);
    if (entry !== undefined) entry.isIn = false;
  }

  forget(slot: number): void {
    this.entries.delete(slot);
  }

  changeTier(slot: number, tier: number): void {
    const entry = this.entries.get(slot);
    if (entry !== undefined) Object.assign(entry, { tier, pass: this.#v(tier), isIn: false });
  }

  reweigh(slot: number, weight: number): void {
    const entry = this.entries.get(slot);
    if (entry === undefined) return;
    const debt = this.rank(slot) - this.#v(entry.tier);
    if (debt > 0 && weight !== entry.weight) entry.pass = this.#v(entry.tier) + (debt * entry.weight) / weight;
    entry.weight = weight;
  }

  restore(slot: number, tier: number, pass: number, lastPick: number, weight: number): void {
    const { group = -1, isIn = false } = this.entries.get(slot) ?? {};
    const start = isIn ? Math.max(pass, this.#v(tier)) : pass;
    this.entries.set(slot, { pass: start, lastPick, weight, tier, group, isIn });
  }

  close(group: number): void {
    this.closed.add(group);
  }

  open(group: number): void {
    if (!this.closed.delete(group)) return;
    for (const { tier, group: own, isIn } of this.entries.values()) {
      if (isIn && own === group) this.floors.set(`${tier} ${group}`, this.#v(tier));
    }
  }

  rank(slot: number): number {
    const { pass, tier, group } = this.entries.get(slot)!;
    return Math.max(pass, this.floors.get(`${tier} ${group}`) ?? -Infinity);
  }

  /** Slots on offer, whose turn it is first. */
  line(): number[] {
    return [...this.entries]
      .filter(([, { isIn, group }]) => isIn && !this.closed.has(group))
      .sort(
        ([a, x], [b, y]) =>
          x.tier - y.tier || this.rank(a) - this.rank(b) || x.pass - y.pass || x.lastPick - y.lastPick || a - b,
      )
      .map(([slot]) => slot);
  }

  peek(skip: (slot: number) => boolean, skipGroup: (group: number) => boolean = () => false): number {
    return this.line().find((slot) => !skip(slot) && !skipGroup(this.entries.get(slot)!.group)) ?? -1;
  }

  peekIn(group: number, skip: (slot: number) => boolean): number {
    const line = this.line().map((slot) => ({ slot, ...this.entries.get(slot)! }));
    return line.find((each) => each.tier === line[0]!.tier && each.group === group && !skip(each.slot))?.slot ?? -1;
  }

  take(slot: number, byTurn: boolean): NaiveTurn {
    const entry = this.entries.get(slot)!;
    const first = this.line().find((each) => this.entries.get(each)!.tier === entry.tier);
    const v = this.#v(entry.tier);
    const turn = { slot, pass: entry.pass, lastPick: entry.lastPick, v };
    const rank = this.rank(slot);
    if (slot === first) this.v.set(entry.tier, Math.max(v, rank));
    else if (byTurn) this.v.set(entry.tier, Math.max(v, rank - 1 / entry.weight));
    entry.pass = rank + 1 / entry.weight;
    entry.lastPick = ++this.picks;
    return turn;
  }

  untake({ slot, pass, lastPick, v }: NaiveTurn): void {
    const entry = this.entries.get(slot)!;
    Object.assign(entry, { pass, lastPick });
    this.v.set(entry.tier, v);
  }

  save(): { entries: [number, Entry][]; v: [number, number][] } {
    return { entries: [...this.entries].map(([slot, entry]) => [slot, { ...entry }]), v: [...this.v] };
  }

  load(saved: { entries: [number, Entry][]; v: [number, number][] }): void {
    this.entries.clear();
    for (const [slot, entry] of saved.entries) this.entries.set(slot, entry);
    this.v.clear();
    for (const [tier, v] of saved.v) this.v.set(tier, v);
  }

  #v(tier: number): number {
    return this.v.get(tier) ?? 0;
  }
}
