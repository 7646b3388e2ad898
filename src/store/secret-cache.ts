import { LRUCache } from 'lru-cache';

/**
 * How many decrypted keys to keep. A rotation is a cyclic scan, for which an LRU that is smaller than the pool never hits, and
 * a decrypt costs more than the rest of an acquire: so all keys, to 100,000. `configured` sets it by hand.
 */
export function cacheCapacity(keys: number, configured?: number): number {
  if (configured !== undefined) return configured;
  const floor =
    keys < 100 ? 100 : keys <= 1000 ? Math.max(100, Math.floor(keys / 10)) : Math.min(1000, Math.floor(keys / 10));
  return Math.max(floor, Math.min(keys, 100_000));
}

/** Decrypted keys by ordinal, least recently used out first. */
export class SecretCache {
  hits = 0;
  misses = 0;
  readonly #configured: number | undefined;
  #cache: LRUCache<number, string>;

  constructor(configured?: number) {
    this.#configured = configured;
    this.#cache = new LRUCache({ max: cacheCapacity(0, configured) });
  }

  get size(): number {
    return this.#cache.size;
  }

  get capacity(): number {
    return this.#cache.max;
  }

  get(ordinal: number): string | undefined {
    const found = this.#cache.get(ordinal);
    if (found === undefined) this.misses++;
    else this.hits++;
    return found;
  }

  set(ordinal: number, apiKey: string): void {
    this.#cache.set(ordinal, apiKey);
  }

  delete(ordinal: number): void {
    this.#cache.delete(ordinal);
  }

  /** To be called when the number of keys changed. Grows by doubling, so that a growing pool does not copy each time. */
  resize(keys: number): void {
    const wanted = cacheCapacity(keys, this.#configured);
    if (wanted <= this.#cache.max) return;
    const grown = new LRUCache<number, string>({
      max: this.#configured ?? Math.min(100_000, Math.max(wanted, this.#cache.max * 2)),
    });
    grown.load(this.#cache.dump());
    this.#cache = grown;
  }
}
