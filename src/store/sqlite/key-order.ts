import type { Key } from '../../engine/key.ts';

/**
 * Keys in the order of their ordinals, which is that of their ids: lists go by it page by page, each page beginning where the
 * last one ended. Keys nearly always come in that order already; two imports at once may bring a smaller ordinal later.
 */
export class KeyOrder {
  readonly #keys: Key[];

  constructor(keys: Iterable<Key>) {
    this.#keys = [...keys].sort((a, b) => a.ordinal - b.ordinal);
  }

  add(key: Key): void {
    this.#keys.splice(this.#firstAfter(key.ordinal), 0, key);
  }

  delete(key: Key): void {
    const index = this.#firstAfter(key.ordinal) - 1;
    if (this.#keys[index] === key) this.#keys.splice(index, 1);
  }

  first(limit: number): Key[] {
    return this.#keys.slice(0, limit);
  }

  *after(ordinal: number): Generator<Key> {
    for (let i = this.#firstAfter(ordinal); i < this.#keys.length; i++) yield this.#keys[i]!;
  }

  /** How many keys have this ordinal or a smaller one. */
  #firstAfter(ordinal: number): number {
    let low = 0;
    let high = this.#keys.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#keys[middle]!.ordinal <= ordinal) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
