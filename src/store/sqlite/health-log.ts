import type { Changes } from '../../engine/changes.ts';
import type { Engine } from '../../engine/engine.ts';
import { type Key, keyId } from '../../engine/key.ts';
import { HealthEventKind, KeyState } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { HealthChange, KeyView, RemovedKey } from '../store.ts';

/** Removed keys that are remembered for watchers who resume; older ones make them start with a snapshot. */
const REMEMBERED = 10_000;

/** Numbers what watchers are told of, and tells them once it is stored. */
export class HealthLog {
  readonly #storeId: string;
  readonly #listeners = new Set<(changes: readonly HealthChange[]) => void>();
  #revision: number;
  #horizon: number;
  #removed: RemovedKey[];
  #prepared: HealthChange[] = [];
  /** Made by operations that store first: told with the commit that carried them. */
  #announced: HealthChange[] = [];

  constructor(
    storeId: string,
    restored: {
      meta: Record<string, string>;
      revision: number;
      removedKeys: readonly { ordinal: number; pool: string; revision: number }[];
    },
  ) {
    this.#storeId = storeId;
    this.#revision = restored.revision;
    this.#horizon = Number(restored.meta.removed_horizon ?? 0);
    this.#removed = restored.removedKeys
      .map(({ ordinal, pool, revision }) => ({ keyId: keyId(ordinal), pool, revision }))
      .sort((a, b) => a.revision - b.revision);
  }

  get position(): { storeId: string; revision: number } {
    return { storeId: this.#storeId, revision: this.#revision };
  }

  get revision(): number {
    return this.#revision;
  }

  /** Removed keys up to this revision are forgotten. */
  get horizon(): number {
    return this.#horizon;
  }

  /** The number of the next change. */
  next(): number {
    return ++this.#revision;
  }

  subscribe(listener: (changes: readonly HealthChange[]) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  removedSince(revision: number): readonly RemovedKey[] | undefined {
    if (revision < this.#horizon) return undefined;
    return this.#removed.filter((each) => each.revision > revision);
  }

  /** Numbers what the changes announce, as it stands now, and marks the keys' health to be stored. */
  prepare(changes: Changes, engine: Engine, time: number, view: (key: Key) => KeyView): void {
    this.#prepared = [];
    for (const [key, previousState] of changes.announced) {
      if (engine.keys.get(key.ordinal) !== key) continue;
      const revision = this.next();
      key.record.revision = revision;
      changes.health.add(key);
      if (this.#listeners.size === 0) continue;
      this.#prepared.push({
        revision,
        time,
        kind: HealthEventKind.KEY_CHANGED,
        pool: key.pool.name,
        model: '',
        keyId: keyId(key.ordinal),
        key: view(key),
        previousState,
      });
    }
    for (const { pool, exhausted } of changes.shifts.values()) {
      const kind = exhausted ? HealthEventKind.POOL_EXHAUSTED : HealthEventKind.POOL_RECOVERED;
      this.#prepared.push(this.poolEvent(kind, pool.name, time));
    }
  }

  poolEvent(kind: HealthEventKind, pool: string, time: number): HealthChange {
    const revision = this.next();
    return { revision, time, kind, pool, model: '', keyId: '', key: undefined, previousState: KeyState.UNSPECIFIED };
  }

  /** To be told with the commit that is being made. */
  announce(change: HealthChange): void {
    this.#announced.push(change);
  }

  remember(removed: RemovedKey): void {
    this.#removed.push(removed);
    if (this.#removed.length > REMEMBERED) this.#horizon = this.#removed.shift()!.revision;
  }

  /** The commit is done: tells the watchers. */
  publish(): void {
    const changes = [...this.#prepared, ...this.#announced].sort((a, b) => a.revision - b.revision);
    this.#prepared = [];
    this.#announced = [];
    if (changes.length === 0) return;
    for (const listener of this.#listeners) listener(changes);
  }
}
