import type { Changes } from '../../engine/changes.ts';
import type { Engine } from '../../engine/engine.ts';
import { type Key, keyId } from '../../engine/key.ts';
import { HealthEventKind, KeyState } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { HealthChange, KeyView, RemovedKey } from '../store.ts';

/** Removed keys that are remembered for watchers who resume; older ones make them start with a snapshot. */
const REMEMBERED = 10_000;

/** Name in `meta` under which a clean stop leaves "boot:epoch". */
const CLEAN_STOP = 'health_clean_stop';

/**
 * Numbers what watchers are told of, and tells them once it is stored.
 *
 * Pages of keys are read from memory, which is ahead of what is stored. While the process lives that is made good by the
 * changes that follow; a crash takes what was ahead, and a watcher who saw it could not know. So revisions count within an
 * epoch, which is part of the stream's name: it goes on over clean stops, and a new one begins after a crash.
 */
export class HealthLog {
  readonly #storeId: string;
  readonly #boot: number;
  readonly #epoch: number;
  readonly #listeners = new Set<(changes: readonly HealthChange[]) => void>();
  #revision: number;
  /** The newest revision of the commit that is being made. */
  #preparedRevision: number;
  /** All changes up to this one are stored and told. */
  #publishedRevision: number;
  #horizon: number;
  #removed: RemovedKey[];
  #prepared: HealthChange[] = [];
  /** Made by operations that store first: told, and removals remembered, with the commit that carried them. */
  #announced: HealthChange[] = [];
  #departed: RemovedKey[] = [];

  constructor(
    storeId: string,
    boot: number,
    restored: {
      meta: Record<string, string>;
      revision: number;
      removedKeys: readonly { ordinal: number; pool: string; revision: number }[];
    },
  ) {
    this.#storeId = storeId;
    this.#boot = boot;
    const stop = /^(\d+):(\d+)$/.exec(restored.meta[CLEAN_STOP] ?? '');
    this.#epoch = stop !== null && Number(stop[1]) === boot - 1 ? Number(stop[2]) : boot;
    this.#revision = restored.revision;
    this.#preparedRevision = restored.revision;
    this.#publishedRevision = restored.revision;
    this.#horizon = Number(restored.meta.removed_horizon ?? 0);
    this.#removed = restored.removedKeys
      .map(({ ordinal, pool, revision }) => ({ keyId: keyId(ordinal), pool, revision }))
      .filter(({ revision }) => revision > this.#horizon)
      .sort((a, b) => a.revision - b.revision);
  }

  get position(): { storeId: string; revision: number } {
    return { storeId: `${this.#storeId}.${this.#epoch}`, revision: this.#publishedRevision };
  }

  /** Written last by a stop that leaves nothing unstored. */
  get cleanStop(): { revision: number; meta: Record<string, string> } {
    return { revision: this.#revision, meta: { [CLEAN_STOP]: `${this.#boot}:${this.#epoch}` } };
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
    for (const { pool, model, exhausted } of changes.shifts.values()) {
      const kind = exhausted ? HealthEventKind.POOL_EXHAUSTED : HealthEventKind.POOL_RECOVERED;
      this.#prepared.push(this.poolEvent(kind, pool.name, time, model));
    }
    this.#preparedRevision = this.#revision;
  }

  poolEvent(kind: HealthEventKind, pool: string, time: number, model = ''): HealthChange {
    const revision = this.next();
    return { revision, time, kind, pool, model, keyId: '', key: undefined, previousState: KeyState.UNSPECIFIED };
  }

  /** To be told with the commit that is being made. */
  announce(change: HealthChange): void {
    this.#announced.push(change);
  }

  /** To be known as removed with the commit that is being made. */
  remember(removed: RemovedKey): void {
    this.#departed.push(removed);
  }

  /** The commit is done: tells the watchers. */
  publish(): void {
    // A key that the commit both changed and removed is gone: its change was numbered behind its removal.
    const gone = new Set(this.#departed.map((each) => each.keyId));
    const prepared = gone.size === 0 ? this.#prepared : this.#prepared.filter((each) => !gone.has(each.keyId));
    const changes = [...prepared, ...this.#announced].sort((a, b) => a.revision - b.revision);
    for (const removed of this.#departed) this.#removed.push(removed);
    while (this.#removed.length > REMEMBERED) this.#horizon = this.#removed.shift()!.revision;
    this.#prepared = [];
    this.#announced = [];
    this.#departed = [];
    this.#publishedRevision = Math.max(this.#preparedRevision, changes.at(-1)?.revision ?? 0);
    if (changes.length === 0) return;
    for (const listener of this.#listeners) listener(changes);
  }
}
