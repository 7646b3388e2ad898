import { onTestFinished } from 'vitest';
import { BalancerError } from '../../../src/engine/errors.ts';
import type { Store } from '../../../src/store/store.ts';
import { acquireOrder, importOrder } from '../../support/orders.ts';

/** An implementation under test: a place that stores can be opened in, with a clock that the test moves. */
export interface StorePlace {
  /** Opens the store of the place, again after it was closed. */
  open(): Promise<Store>;
  /** Lets time pass for every store of the place. */
  pass(ms: number): void;
}

/** A store of a fresh place, closed when the test ends. */
export class StoreBench {
  store!: Store;
  readonly #place: StorePlace;

  private constructor(place: StorePlace) {
    this.#place = place;
  }

  static async open(place: StorePlace): Promise<StoreBench> {
    const bench = new StoreBench(place);
    bench.store = await place.open();
    onTestFinished(() => bench.store.close());
    return bench;
  }

  pass(ms: number): void {
    this.#place.pass(ms);
  }

  /** Closes the store and opens it anew. */
  async restart(): Promise<void> {
    await this.store.close();
    this.store = await this.#place.open();
  }

  /** Adds keys and gives their ids, in order. */
  async addKeys(...apiKeys: string[]): Promise<string[]> {
    const { results } = await this.store.importKeys(importOrder(apiKeys));
    return results.map((each) => each.keyId);
  }

  /** Ids of the keys of so many acquires, one after the other. */
  async picks(count: number, order: Parameters<typeof acquireOrder>[0] = {}): Promise<string[]> {
    const ids: string[] = [];
    for (let i = 0; i < count; i++) ids.push((await this.store.acquire(acquireOrder(order))).keyId);
    return ids;
  }

  /** Fails the test unless the counts of every key, pool and the total add up. */
  async sums(): Promise<void> {
    const { total, pools } = await this.store.stats({ pools: [], includeModels: true });
    const { items } = await this.store.listKeys({ ...EVERY_KEY, limit: 1_000 });
    const rows = [
      { usage: total.usage, active: total.activeLeases },
      ...pools.map((pool) => ({ usage: pool.usage, active: pool.activeLeases })),
      ...items.map((key) => ({ usage: key.usage, active: key.activeLeases })),
    ];
    for (const { usage, active } of rows) {
      const sum = active + usage.succeeded + usage.failed + usage.expired + usage.unused + usage.released;
      if (usage.acquired !== sum) throw new Error(`acquired ${usage.acquired}, accounted for ${sum}`);
    }
  }
}

export const EVERY_KEY = { pool: '', states: [], project: '', source: '', labels: {}, after: '', limit: 100 };

/** The reason of a refusal. */
export async function reasonOf(answer: Promise<unknown>): Promise<string> {
  try {
    await answer;
  } catch (error) {
    if (error instanceof BalancerError) return error.reason;
    throw error;
  }
  return 'no refusal';
}
