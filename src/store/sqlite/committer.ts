import { Changes } from '../../engine/changes.ts';
import type { Engine } from '../../engine/engine.ts';
import { BalancerError } from '../../engine/errors.ts';
import type { Journal, Rows } from './journal.ts';

/** What an exclusive operation writes, and how memory then comes to show it. */
export interface Plan {
  rows: Rows;
  apply: () => void | Promise<void>;
}

/** An operation that is stored before memory shows it: imports and everything an administrator changes. */
export interface Exclusive {
  /**
   * Judges against memory as it stands and says what to write. A throw refuses it and writes nothing. One that takes its time
   * (a promise) holds commits up and may go only by what exclusive operations alone change: settings, and which keys there are.
   */
  plan: () => Plan | Promise<Plan>;
  /** It was planned, but could not be stored. */
  refused?: () => void;
}

export interface CommitterOptions {
  journal: Journal;
  engine: Engine;
  now: () => number;
  /** What to write for the changes; called once a commit, just before it. */
  rowsOf: (changes: Changes) => Rows;
  /** The rows of the last rowsOf() are stored. */
  stored: () => void;
  /** A commit took so long, in milliseconds, or failed. */
  measured: (ms: number, operations: number, ok: boolean) => void;
  /** The store stopped or resumed taking writes. */
  failing: (failing: boolean, cause: Error | undefined) => void;
}

interface Confirmation {
  undo: ((now: number) => void) | undefined;
  resolve: () => void;
  reject: (error: Error) => void;
}

interface QueuedExclusive extends Exclusive {
  resolve: () => void;
  reject: (error: Error) => void;
}

/** How long what nobody waits for (acquires, expiries) may stay unwritten, to share a commit with more of its kind. */
const UNAWAITED_MS = 5;
/** Between attempts while the store takes no writes. */
const RETRY_MS = 250;

/**
 * Group commit: whatever the operations of a tick touched is written in one transaction, one transaction at a time.
 *
 * confirm() resolves when all that memory shows now is stored. If that fails, everything that is not confirmed is undone in
 * memory, newest first, and rejected; what nobody waited for stays touched and is written when the store takes writes again.
 */
export class Committer {
  /** Whether the last commit failed. */
  failing = false;
  readonly #options: CommitterOptions;
  #confirmations: Confirmation[] = [];
  #exclusives: QueuedExclusive[] = [];
  #running: Promise<void> | undefined;
  #immediate: NodeJS.Immediate | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** Whether somebody waits for the next commit. */
  #awaited = false;
  #closed = false;

  constructor(options: CommitterOptions) {
    this.#options = options;
  }

  /**
   * Resolves when what was applied so far is stored; `undo` takes the caller's part back if it cannot be. `relaxed`: nobody waits for
   * that, so it may take UNAWAITED_MS longer, to share a commit with more of its kind.
   */
  confirm(undo?: (now: number) => void, relaxed = false): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#confirmations.push({ undo, resolve, reject });
      if (relaxed) this.#later();
      else this.#soon();
    });
  }

  /** Stores, then applies. One at a time, in order. */
  exclusive(operation: Exclusive): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#exclusives.push({ ...operation, resolve, reject });
      this.#soon();
    });
  }

  /** Something changed that nobody waits for. */
  touch(): void {
    if (this.#timer !== undefined || this.#immediate !== undefined || this.#running !== undefined || this.#closed)
      return;
    this.#timer = setTimeout(() => this.#run(), this.failing ? RETRY_MS : UNAWAITED_MS);
    this.#timer.unref();
  }

  /** Stores all there is. Resolves when that is done, or has failed. */
  async flush(): Promise<void> {
    await this.#running;
    await this.#run();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    if (this.#immediate !== undefined) clearImmediate(this.#immediate);
  }

  /** As touch(), but the process stays for it. */
  #later(): void {
    this.touch();
    this.#timer?.ref();
  }

  #soon(): void {
    this.#awaited = true;
    if (this.#immediate !== undefined || this.#running !== undefined) return;
    this.#immediate = setImmediate(() => this.#run());
  }

  async #run(): Promise<void> {
    if (this.#running !== undefined) return;
    clearTimeout(this.#timer);
    if (this.#immediate !== undefined) clearImmediate(this.#immediate);
    this.#timer = undefined;
    this.#immediate = undefined;
    this.#awaited = false;
    this.#running = this.#commit();
    await this.#running;
    this.#running = undefined;
    const confirmations = this.#confirmations.length;
    if (this.#awaited || this.#exclusives.length > 0) this.#soon();
    // While it fails it is tried again, though there be nothing to write: only a commit that succeeds lets acquires go on.
    else if (confirmations > 0) this.#later();
    else if (this.failing || !this.#options.engine.changes.empty) this.touch();
  }

  async #commit(): Promise<void> {
    const { journal, engine } = this.#options;
    const exclusive = this.#exclusives.shift();
    let planned: Plan | undefined;
    try {
      const plan = exclusive?.plan();
      // A plan that is there at once is stored with memory as the plan saw it: nothing may come between.
      planned = plan instanceof Promise ? await plan : plan;
    } catch (error) {
      exclusive!.reject(error as Error);
    }
    const changes = engine.changes;
    const confirmations = this.#confirmations;
    if (changes.empty && confirmations.length === 0 && planned === undefined && !this.failing) return;
    engine.changes = new Changes();
    this.#confirmations = [];
    const started = this.#options.now();
    try {
      const rows = joined(this.#options.rowsOf(changes), planned?.rows);
      // What was undone may be written as it is stored, and such a write succeeds without touching the disk.
      if (this.failing) rows.meta = { ...rows.meta, last_retry: String(started) };
      await journal.commit(rows);
    } catch (error) {
      this.#failed(changes, confirmations, planned === undefined ? undefined : exclusive, error as Error);
      return;
    }
    this.#options.measured(this.#options.now() - started, confirmations.length + (planned === undefined ? 0 : 1), true);
    if (this.failing) {
      this.failing = false;
      this.#options.failing(false, undefined);
    }
    if (planned !== undefined) {
      try {
        await planned.apply();
        exclusive!.resolve();
      } catch (error) {
        exclusive!.reject(error as Error);
      }
    }
    this.#options.stored();
    for (const each of confirmations) each.resolve();
  }

  #failed(changes: Changes, confirmations: Confirmation[], exclusive: QueuedExclusive | undefined, cause: Error): void {
    const { engine, now } = this.#options;
    this.#options.measured(0, confirmations.length, false);
    if (!this.failing) this.#options.failing(true, cause);
    this.failing = true;
    engine.changes.putBack(changes);
    // What came in during the commit stands on what now has to go.
    const refused = [...confirmations, ...this.#confirmations];
    this.#confirmations = [];
    for (const each of refused.toReversed()) each.undo?.(now());
    const error = storeUnavailable();
    exclusive?.refused?.();
    exclusive?.reject(error);
    for (const each of refused) each.reject(error);
  }
}

export function storeUnavailable(): BalancerError {
  return new BalancerError('STORE_UNAVAILABLE', 'the store takes no writes now; nothing of this call was kept', {
    retryDelayMs: RETRY_MS,
  });
}

/** Rows of both; where both write the same row, `over` is written last. */
function joined(base: Rows, over: Rows | undefined): Rows {
  if (over === undefined) return base;
  const rows: Record<string, unknown> = { ...base };
  for (const [name, value] of Object.entries(over)) {
    const old = rows[name];
    rows[name] = Array.isArray(old) && Array.isArray(value) ? [...old, ...value] : value;
  }
  return rows as Rows;
}
