import { HealthEventKind, type KeyState } from '../../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { HealthChange, KeyView } from '../../../store/store.ts';

const { KEY_ADDED, KEY_CHANGED, KEY_REMOVED, POOL_CHANGED } = HealthEventKind;

/** A change that waits to be told, with those that it stands for. */
export interface PendingChange {
  /** The newest. */
  change: HealthChange;
  kind: HealthEventKind;
  /** The key's state as the watcher knows it. */
  previousState: KeyState;
  /** Changes merged into this one, itself not counted. */
  merged: number;
  /** Revision of the oldest. */
  firstRevision: number;
  /** Whether the watcher has yet to hear of this key at all. */
  isNew: boolean;
}

/**
 * What a watcher has yet to be told: one change for each key, and for what each pool and model offers, however
 * many there were.
 *
 *   waiting   and then   becomes
 *   ADDED     CHANGED    ADDED with the newer key
 *   ADDED     REMOVED    nothing
 *   CHANGED   CHANGED    CHANGED with the newer key and the older previous state
 *   CHANGED   REMOVED    REMOVED with the older previous state
 *   of a pool any        the newer (settings, and whether it has available keys, each by itself)
 *
 * A merged change keeps the place of its oldest, so that one which changes all the time gets its turn like any other.
 *
 * Pages of keys (a snapshot, or what a resuming watcher missed) are read while changes come in, and show some of them already.
 * Those are not told again, and a key that a page showed is no longer new.
 */
export class PendingChanges {
  readonly #entries = new Map<string, PendingChange>();
  /** Keys that a page showed, until the first change of each after it. */
  readonly #shown = new Map<string, { revision: number; state: KeyState }>();
  #readingPage = false;
  #lastRevision = 0;

  get size(): number {
    return this.#entries.size;
  }

  /** Keys remembered beside those that wait. */
  get shown(): number {
    return this.#shown.size;
  }

  /** Everything up to this revision has been told, or need not be. */
  get toldRevision(): number {
    for (const { firstRevision } of this.#entries.values()) return firstRevision - 1;
    return this.#lastRevision;
  }

  /** What the watcher does not want counts as told once what came before it is. */
  passed(revision: number): void {
    this.#lastRevision = Math.max(this.#lastRevision, revision);
  }

  offer(change: HealthChange): void {
    this.passed(change.revision);
    const name = nameOf(change);
    const waiting = this.#entries.get(name);
    if (waiting === undefined) {
      this.#entries.set(name, {
        change,
        kind: change.kind,
        previousState: change.previousState,
        merged: 0,
        firstRevision: change.revision,
        isNew: change.kind === KEY_ADDED,
      });
      return;
    }
    waiting.change = change;
    waiting.merged++;
    if (change.kind !== KEY_CHANGED) waiting.kind = change.kind;
    // A page that is just being read may show the key; only then is it known whether there is something to take back.
    if (!this.#readingPage) this.#dropIfUnseen(name, waiting);
  }

  /** A page is about to be read from the store. */
  beginPage(): void {
    this.#readingPage = true;
  }

  /** The watcher will be told of these keys by the page. */
  endPage(keys: readonly KeyView[]): void {
    this.#readingPage = false;
    for (const { keyId, revision, state } of keys) this.#shown.set(keyId, { revision, state });
    for (const [name, entry] of this.#entries) this.#dropIfUnseen(name, entry);
  }

  /** The watcher is told, beside the changes, that the key is gone. */
  removed(keyId: string): void {
    this.#entries.delete(keyId);
    this.#shown.delete(keyId);
  }

  /** The next to tell, oldest first. */
  take(): PendingChange | undefined {
    for (const [name, entry] of this.#entries) {
      this.#entries.delete(name);
      const shown = this.#shown.get(name);
      if (shown === undefined) return entry;
      if (entry.kind !== KEY_REMOVED && entry.change.revision <= shown.revision) continue;
      this.#shown.delete(name);
      const kind = entry.kind === KEY_ADDED ? KEY_CHANGED : entry.kind;
      return { ...entry, kind, previousState: shown.state };
    }
    return undefined;
  }

  #dropIfUnseen(name: string, { isNew, kind }: PendingChange): void {
    if (isNew && kind === KEY_REMOVED && !this.#shown.has(name)) this.#entries.delete(name);
  }
}

/** Key ids hold no line break, so no pool's name can be taken for one. */
function nameOf({ keyId, pool, model, kind }: HealthChange): string {
  if (keyId !== '') return keyId;
  // That its settings changed must not hide that it ran out of keys.
  return `${pool}\n${model}\n${kind === POOL_CHANGED ? 'settings' : 'supply'}`;
}
