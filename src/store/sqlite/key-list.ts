import type { Engine } from '../../engine/engine.ts';
import { type Key, ordinalOf } from '../../engine/key.ts';
import type { KeyQuery, KeyView, Page } from '../store.ts';
import { KeyOrder } from './key-order.ts';

/** Pages of keys in the order of their ids. */
export class KeyList {
  readonly #engine: Engine;
  readonly #view: (key: Key) => KeyView;
  readonly #order: KeyOrder;

  constructor(engine: Engine, view: (key: Key) => KeyView) {
    this.#engine = engine;
    this.#view = view;
    this.#order = new KeyOrder(engine.keys.values());
  }

  add(key: Key): void {
    this.#order.add(key);
  }

  delete(key: Key): void {
    this.#order.delete(key);
  }

  /** The first ones, up to so many. */
  first(limit: number): Key[] {
    return this.#order.first(limit);
  }

  page(query: KeyQuery): Page<KeyView> & { totalSize: number } {
    const pool = query.pool === '' ? undefined : this.#engine.pool(query.pool);
    const after = query.after === '' ? 0 : (ordinalOf(query.after) ?? 0);
    const matches = matcher(query);
    // Where all keys match they need not be walked over to be counted.
    if (matches === undefined) {
      const ofPool = (key: Key): boolean => pool === undefined || key.pool === pool;
      const page = this.#take(this.#order.after(after), ofPool, query.limit);
      return { ...page, totalSize: pool?.keyCount ?? this.#engine.keys.size };
    }
    const found = [...this.#candidates(query.project)].filter(
      (key) => (pool === undefined || key.pool === pool) && matches(key),
    );
    const page = this.#take(found, (key) => key.ordinal > after, query.limit);
    return { ...page, totalSize: found.length };
  }

  /** Keys whose health changed after a revision. */
  changed(query: { pools: readonly string[]; sinceRevision: number; after: string; limit: number }): Page<KeyView> {
    const after = query.after === '' ? 0 : (ordinalOf(query.after) ?? 0);
    const matches = (key: Key): boolean =>
      key.record.revision > query.sinceRevision && (query.pools.length === 0 || query.pools.includes(key.pool.name));
    return this.#take(this.#order.after(after), matches, query.limit);
  }

  #candidates(project: string): Iterable<Key> {
    if (project === '') return this.#order.after(0);
    return [...(this.#engine.projects.get(project)?.keys ?? [])].sort((a, b) => a.ordinal - b.ordinal);
  }

  #take(keys: Iterable<Key>, matches: (key: Key) => boolean, limit: number): Page<KeyView> {
    const items: KeyView[] = [];
    for (const key of keys) {
      if (!matches(key)) continue;
      if (items.length === limit) return { items, next: items[items.length - 1]!.keyId };
      items.push(this.#view(key));
    }
    return { items, next: '' };
  }
}

/** undefined: nothing but the pool is asked for. */
function matcher({ states, project, source, labels }: KeyQuery): ((key: Key) => boolean) | undefined {
  const wanted = Object.entries(labels);
  if (states.length === 0 && project === '' && source === '' && wanted.length === 0) return undefined;
  return ({ state, settings, project: own }) =>
    (states.length === 0 || states.includes(state)) &&
    (project === '' || own.name === project) &&
    (source === '' || settings.source === source) &&
    wanted.every(([name, value]) => settings.labels[name] === value);
}
