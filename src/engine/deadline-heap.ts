/** Something that falls due. The heap keeps heapIndex; -1 while it is in none. */
export interface Due {
  deadline: number;
  heapIndex: number;
}

/** Items by deadline, earliest first. Invariant: items[i].deadline <= items[2i+1].deadline, items[2i+2].deadline. */
export class DeadlineHeap<T extends Due> {
  readonly #items: T[] = [];

  get size(): number {
    return this.#items.length;
  }

  /** The earliest deadline; Infinity when empty. */
  get next(): number {
    return this.#items[0]?.deadline ?? Infinity;
  }

  /** All of them, in no order, as they are now. */
  items(): T[] {
    return [...this.#items];
  }

  /** Adds the item, or moves it to its new deadline. */
  set(item: T, deadline: number): void {
    item.deadline = deadline;
    if (item.heapIndex < 0) {
      item.heapIndex = this.#items.length;
      this.#items.push(item);
    }
    this.#up(item.heapIndex);
    this.#down(item.heapIndex);
  }

  delete(item: T): void {
    const index = item.heapIndex;
    if (index < 0) return;
    item.heapIndex = -1;
    const last = this.#items.pop()!;
    if (last === item) return;
    this.#items[index] = last;
    last.heapIndex = index;
    this.#up(index);
    this.#down(last.heapIndex);
  }

  /** Takes out the earliest item that is due. */
  popDue(now: number): T | undefined {
    const first = this.#items[0];
    if (first === undefined || first.deadline > now) return undefined;
    this.delete(first);
    return first;
  }

  #up(index: number): void {
    const items = this.#items;
    const item = items[index]!;
    let at = index;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = items[parent]!;
      if (above.deadline <= item.deadline) break;
      items[at] = above;
      above.heapIndex = at;
      at = parent;
    }
    items[at] = item;
    item.heapIndex = at;
  }

  #down(index: number): void {
    const items = this.#items;
    const item = items[index]!;
    const size = items.length;
    let at = index;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= size) break;
      if (child + 1 < size && items[child + 1]!.deadline < items[child]!.deadline) child++;
      const below = items[child]!;
      if (below.deadline >= item.deadline) break;
      items[at] = below;
      below.heapIndex = at;
      at = child;
    }
    items[at] = item;
    item.heapIndex = at;
  }
}
