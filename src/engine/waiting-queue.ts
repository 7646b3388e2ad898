/** An acquire that waits. The queue keeps its links. */
export interface Waiter {
  readonly priority: number;
  /** Counts up over the whole engine: who came first. */
  readonly arrival: number;
  previous: Waiter | undefined;
  next: Waiter | undefined;
  queue: WaitingQueue | undefined;
}

interface Line {
  priority: number;
  head: Waiter | undefined;
  tail: Waiter | undefined;
}

/** Waiting acquires of one lane: the larger priority first, first in first out within it. O(1) in the waiters. */
export class WaitingQueue {
  /** A line for each priority in use, largest first. */
  #lines: Line[] = [];
  size = 0;

  add(waiter: Waiter): void {
    const line = this.#line(waiter.priority);
    waiter.previous = line.tail;
    waiter.next = undefined;
    if (line.tail === undefined) line.head = waiter;
    else line.tail.next = waiter;
    line.tail = waiter;
    waiter.queue = this;
    this.size++;
  }

  remove(waiter: Waiter): void {
    if (waiter.queue !== this) return;
    const index = this.#index(waiter.priority);
    const line = this.#lines[index]!;
    if (waiter.previous === undefined) line.head = waiter.next;
    else waiter.previous.next = waiter.next;
    if (waiter.next === undefined) line.tail = waiter.previous;
    else waiter.next.previous = waiter.previous;
    if (line.head === undefined) this.#lines.splice(index, 1);
    waiter.queue = undefined;
    waiter.previous = undefined;
    waiter.next = undefined;
    this.size--;
  }

  first(): Waiter | undefined {
    return this.#lines[0]?.head;
  }

  /** The one served next if `waiter`, which is in, is passed over. */
  after(waiter: Waiter): Waiter | undefined {
    if (waiter.next !== undefined) return waiter.next;
    return this.#lines[this.#index(waiter.priority) + 1]?.head;
  }

  /** Whether `a` is served before `b`, of whatever lane. */
  static before(a: Waiter, b: Waiter): boolean {
    return a.priority !== b.priority ? a.priority > b.priority : a.arrival < b.arrival;
  }

  #line(priority: number): Line {
    const index = this.#index(priority);
    const found = this.#lines[index];
    if (found?.priority === priority) return found;
    const line: Line = { priority, head: undefined, tail: undefined };
    this.#lines.splice(index, 0, line);
    return line;
  }

  /** Where the priority's line is, or belongs. */
  #index(priority: number): number {
    let low = 0;
    let high = this.#lines.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#lines[middle]!.priority > priority) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
