interface Entry {
  pass: number;
  lastPick: number;
  weight: number;
  tier: number;
  isIn: boolean;
}

/** What a lane has to do, said with plain lists and searches. A slot's number is its ordinal. */
export class NaiveLane {
  readonly entries = new Map<number, Entry>();
  readonly v = new Map<number, number>();
  picks = 0;

  join(slot: number, tier: number, weight: number): void {
    const known = this.entries.get(slot);
    if (known?.isIn) return;
    this.reweigh(slot, weight);
    const v = this.#v(tier);
    const start = known !== undefined && known.tier === tier ? Math.max(known.pass, v) : v;
    this.entries.set(slot, { pass: start, lastPick: known?.lastPick ?? 0, weight, tier, isIn: true });
  }

  leave(slot: number): void {
    const entry = this.entries.get(slot);
    if (entry !== undefined) entry.isIn = false;
  }

  forget(slot: number): void {
    this.entries.delete(slot);
  }

  reweigh(slot: number, weight: number): void {
    const entry = this.entries.get(slot);
    if (entry === undefined) return;
    const debt = entry.pass - this.#v(entry.tier);
    if (debt > 0 && weight !== entry.weight) entry.pass = this.#v(entry.tier) + (debt * entry.weight) / weight;
    entry.weight = weight;
  }

  /** Slots that are in, whose turn it is first. */
  line(): number[] {
    return [...this.entries]
      .filter(([, entry]) => entry.isIn)
      .sort(([a, x], [b, y]) => x.tier - y.tier || x.pass - y.pass || x.lastPick - y.lastPick || a - b)
      .map(([slot]) => slot);
  }

  peek(skip: (slot: number) => boolean): number {
    return this.line().find((slot) => !skip(slot)) ?? -1;
  }

  take(slot: number, byTurn: boolean): void {
    const entry = this.entries.get(slot)!;
    const first = this.line().find((each) => this.entries.get(each)!.tier === entry.tier);
    const v = this.#v(entry.tier);
    if (slot === first) this.v.set(entry.tier, Math.max(v, entry.pass));
    else if (byTurn) this.v.set(entry.tier, Math.max(v, entry.pass - 1 / entry.weight));
    entry.pass += 1 / entry.weight;
    entry.lastPick = ++this.picks;
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
