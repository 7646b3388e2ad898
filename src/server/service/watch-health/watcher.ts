import { BalancerError } from '../../../engine/errors.ts';
import { HealthEventKind, type WatchHealthResponse } from '../../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { HealthChange, PoolStatsView, RemovedKey, StoreStats } from '../../../store/store.ts';
import type { ServiceContext } from '../service-context.ts';
import { Wakeup } from '../wakeup.ts';
import { PendingChanges } from './pending-changes.ts';
import { type ResumePoint, resumeToken } from './resume-token.ts';
import { shortHash, type WatchFilters } from './watch-filters.ts';
import {
  changeMessage,
  heartbeatMessage,
  missedChangeMessage,
  poolConditionMessage,
  snapshotMessage,
} from './watch-messages.ts';

const { KEY_ADDED, KEY_CHANGED, KEY_REMOVED, POOL_EXHAUSTED, POOL_RECOVERED } = HealthEventKind;

/** Keys to a page of a snapshot: some 100 kB. */
const PAGE = 500;

export interface WatchOptions {
  filters: WatchFilters;
  heartbeatMs: number;
  skipSnapshot: boolean;
  /** undefined: from now on. */
  resume: { point: ResumePoint; token: string } | undefined;
}

/**
 * One watcher: hears every change from its making on and gives messages as fast as they are pulled. In between it only merges,
 * so what it holds is bounded by the number of keys. close() must be called, and is by itself once the caller is gone.
 */
export class Watcher {
  readonly #context: ServiceContext;
  readonly #options: WatchOptions;
  readonly #signal: AbortSignal;
  readonly #pending = new PendingChanges();
  readonly #wakeup = new Wakeup();
  readonly #unsubscribe: () => void;
  readonly #heartbeats: NodeJS.Timeout;
  readonly #wake = (): void => this.#wakeup.wake();
  /** Pools without available keys, as the watcher knows. */
  readonly #exhausted = new Set<string>();
  #exhaustedHash = '';
  #storeId = '';
  #heartbeatDue = false;
  #closed = false;

  constructor(context: ServiceContext, options: WatchOptions, signal: AbortSignal) {
    this.#context = context;
    this.#options = options;
    this.#signal = signal;
    context.open.watchers++;
    this.#unsubscribe = context.store.subscribe((changes) => this.#hear(changes));
    this.#heartbeats = setInterval(() => {
      this.#heartbeatDue = true;
      this.#wake();
    }, options.heartbeatMs);
    this.#heartbeats.unref();
    signal.addEventListener('abort', this.close, { once: true });
    context.draining.addEventListener('abort', this.#wake, { once: true });
  }

  close = (): void => {
    if (this.#closed) return;
    this.#closed = true;
    this.#unsubscribe();
    clearInterval(this.#heartbeats);
    this.#signal.removeEventListener('abort', this.close);
    this.#context.draining.removeEventListener('abort', this.#wake);
    this.#context.open.watchers--;
    this.#wake();
  };

  /** Ends when the caller is gone. Throws DRAINING when the server stops. */
  async *messages(): AsyncGenerator<WatchHealthResponse> {
    const { store } = this.#context;
    const { filters, resume, skipSnapshot } = this.#options;
    const stats = await store.stats({ pools: filters.pools, includeModels: false });
    // Whatever is stored after this is heard, whatever was before is in the pages read from now on.
    const position = await store.position();
    this.#storeId = position.storeId;
    this.#pending.passed(position.revision);
    const removed = resume && (await this.#removedSince(resume.point, position.revision));
    if (resume !== undefined && removed !== undefined) {
      yield* this.#missed(resume, removed, stats.pools);
      this.#know(stats);
      this.#heartbeatDue = true;
    } else {
      this.#know(stats);
      if (resume === undefined && skipSnapshot) this.#heartbeatDue = true;
      else yield* this.#snapshot(stats.pools, resume !== undefined);
    }
    while (!this.#over()) {
      if (this.#heartbeatDue) {
        this.#heartbeatDue = false;
        const { total } = await store.stats({ pools: [], includeModels: false });
        yield heartbeatMessage(this.#token(), total);
        continue;
      }
      const next = this.#pending.take();
      if (next === undefined) {
        await this.#wakeup.sleep();
        continue;
      }
      if (next.kind === POOL_EXHAUSTED || next.kind === POOL_RECOVERED) {
        this.#tell(next.change.pool, next.kind === POOL_EXHAUSTED);
      }
      yield changeMessage(this.#token(), next);
    }
  }

  #hear(changes: readonly HealthChange[]): void {
    for (const change of changes) {
      if (this.#options.filters.wants(change)) this.#pending.offer(change);
      else this.#pending.passed(change.revision);
    }
    this.#wake();
  }

  /** Undefined: a snapshot is needed, as the point is another stream's, has other filters or is too long ago. */
  async #removedSince(point: ResumePoint, revision: number): Promise<readonly RemovedKey[] | undefined> {
    const { filters } = this.#options;
    if (point.storeId !== this.#storeId || point.filters !== filters.hash || point.revision > revision)
      return undefined;
    return this.#context.store.removedSince(point.revision);
  }

  async *#snapshot(pools: readonly PoolStatsView[], reset: boolean): AsyncGenerator<WatchHealthResponse> {
    let first = true;
    for await (const { keys, more } of this.#pages(0)) {
      this.#pending.endPage(keys);
      const token = more ? '' : this.#token();
      yield snapshotMessage(token, { keys, pools: first ? pools : [], more, reset: reset && first });
      first = false;
    }
  }

  /**
   * What changed since the point. Until all of it is told the token stays as it was, since it comes in no order of revisions.
   * Changes of pools are not remembered; where they may have mattered, each pool's condition is told.
   */
  async *#missed(
    { point, token }: { point: ResumePoint; token: string },
    removed: readonly RemovedKey[],
    pools: readonly PoolStatsView[],
  ): AsyncGenerator<WatchHealthResponse> {
    const { filters } = this.#options;
    for (const key of removed) {
      if (!filters.wants({ kind: KEY_REMOVED, pool: key.pool })) continue;
      this.#pending.removed(key.keyId);
      yield missedChangeMessage(token, KEY_REMOVED, key);
      if (this.#over()) return;
    }
    for await (const { keys } of this.#pages(point.revision)) {
      const kinds = keys.map(({ createRevision }) => (createRevision > point.revision ? KEY_ADDED : KEY_CHANGED));
      const wanted = keys.filter((_, index) => filters.wantsKind(kinds[index]!));
      this.#pending.endPage(wanted);
      for (const [index, key] of keys.entries()) {
        const kind = kinds[index]!;
        if (filters.wantsKind(kind)) yield missedChangeMessage(token, kind, key);
        if (this.#over()) return;
      }
    }
    if (point.exhausted === hashOf(pools.filter(isExhausted).map(({ pool }) => pool))) return;
    for (const pool of pools) {
      const kind = isExhausted(pool) ? POOL_EXHAUSTED : POOL_RECOVERED;
      if (filters.wantsKind(kind)) yield poolConditionMessage(token, kind, pool.pool);
    }
  }

  /** At least one page. Whoever takes one says what of it will be told by PendingChanges.endPage. */
  async *#pages(sinceRevision: number) {
    const { pools } = this.#options.filters;
    let after = '';
    do {
      this.#pending.beginPage();
      const page = await this.#context.store.healthPage({ pools, sinceRevision, after, limit: PAGE });
      after = page.next;
      yield { keys: page.items, more: after !== '' };
    } while (after !== '' && !this.#over());
  }

  #over(): boolean {
    if (!this.#closed && this.#context.draining.aborted) throw draining();
    return this.#closed;
  }

  #know({ pools }: StoreStats): void {
    for (const pool of pools) if (isExhausted(pool)) this.#exhausted.add(pool.pool);
    this.#exhaustedHash = hashOf(this.#exhausted);
  }

  #tell(pool: string, exhausted: boolean): void {
    if (exhausted) this.#exhausted.add(pool);
    else this.#exhausted.delete(pool);
    this.#exhaustedHash = hashOf(this.#exhausted);
  }

  #token(): string {
    return resumeToken({
      storeId: this.#storeId,
      revision: this.#pending.toldRevision,
      filters: this.#options.filters.hash,
      exhausted: this.#exhaustedHash,
    });
  }
}

export function draining(): BalancerError {
  return new BalancerError('DRAINING', 'this server is shutting down; resume on another, or here once it is back');
}

function isExhausted({ availableKeys }: PoolStatsView): boolean {
  return availableKeys === 0;
}

function hashOf(pools: Iterable<string>): string {
  return shortHash([...pools].sort());
}
