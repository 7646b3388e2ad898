/**
 * Items by rank, smallest first, sorted only as far as somebody looks: heapsort that stops early. What is asked for again costs
 * nothing. Equal ranks come in any order. All items are added before the first is looked at.
 *
 * Invariant, once looked at: the first #heap places are a heap with its smallest at 0, the places behind it hold what was taken
 * out, the smallest at the very end.
 */
export class LazyOrder<T> {
  readonly #items: T[] = [];
  readonly #ranks: number[] = [];
  /** -1: nobody looked yet. */
  #heap = -1;

  get size(): number {
    return this.#items.length;
  }

  add(item: T, rank: number): void {
    this.#items.push(item);
    this.#ranks.push(rank);
  }

  /** The item that is so many-th, from 0. */
  item(index: number): T {
    return this.#items[this.#place(index)]!;
  }

  rank(index: number): number {
    return this.#ranks[this.#place(index)]!;
  }

  #place(index: number): number {
    const place = this.#items.length - 1 - index;
    if (this.#heap < 0) {
      this.#heap = this.#items.length;
      for (let i = (this.#heap >> 1) - 1; i >= 0; i--) this.#sink(i);
    }
    while (this.#heap > place) this.#takeOut();
    return place;
  }

  #takeOut(): void {
    const last = --this.#heap;
    const item = this.#items[0]!;
    const rank = this.#ranks[0]!;
    this.#items[0] = this.#items[last]!;
    this.#ranks[0] = this.#ranks[last]!;
    this.#items[last] = item;
    this.#ranks[last] = rank;
    this.#sink(0);
  }

  #sink(start: number): void {
    const items = this.#items;
    const ranks = this.#ranks;
    const item = items[start]!;
    const rank = ranks[start]!;
    let at = start;
    for (let child = 2 * at + 1; child < this.#heap; child = 2 * at + 1) {
      if (child + 1 < this.#heap && ranks[child + 1]! < ranks[child]!) child++;
      if (ranks[child]! >= rank) break;
      items[at] = items[child]!;
      ranks[at] = ranks[child]!;
      at = child;
    }
    items[at] = item;
    ranks[at] = rank;
  }
}
