/** What happens later, by time: a binary heap. Of things at one time none is promised to come first. */
export class Agenda<T> {
  readonly #times: number[] = [];
  readonly #things: T[] = [];

  /** Of the first thing; Infinity: there is none. */
  get next(): number {
    return this.#times[0] ?? Infinity;
  }

  add(time: number, thing: T): void {
    const times = this.#times;
    const things = this.#things;
    let place = times.length;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      if (times[parent]! <= time) break;
      times[place] = times[parent]!;
      things[place] = things[parent]!;
      place = parent;
    }
    times[place] = time;
    things[place] = thing;
  }

  /** Takes the first thing, which must be there. */
  take(): T {
    const times = this.#times;
    const things = this.#things;
    const first = things[0]!;
    const time = times.pop()!;
    const thing = things.pop()!;
    const size = times.length;
    if (size === 0) return first;
    let place = 0;
    for (let child = 1; child < size; child = 2 * place + 1) {
      if (child + 1 < size && times[child + 1]! < times[child]!) child++;
      if (times[child]! >= time) break;
      times[place] = times[child]!;
      things[place] = things[child]!;
      place = child;
    }
    times[place] = time;
    things[place] = thing;
    return first;
  }
}
