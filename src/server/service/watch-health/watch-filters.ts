import { createHash } from 'node:crypto';
import { HealthEventKind, type WatchHealthRequest } from '../../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { HealthChange } from '../../../store/store.ts';
import { enumValue } from '../enum-field.ts';
import * as fields from '../fields.ts';

const MAX_POOLS = 1000;
const MAX_KINDS = 100;
const { UNSPECIFIED: _, ...KINDS } = HealthEventKind;

/** Which part of the health stream a watcher wants. */
export class WatchFilters {
  /** Empty: all. */
  readonly pools: readonly string[];
  /** Empty: all. */
  readonly kinds: ReadonlySet<HealthEventKind>;
  /** Same filters, same hash, in whatever order they were given. */
  readonly hash: string;
  readonly #pools: ReadonlySet<string>;

  constructor(request: Pick<WatchHealthRequest, 'pools' | 'kinds'>) {
    this.#pools = new Set(fields.list('pools', request.pools, 0, MAX_POOLS).map(fields.poolName));
    this.pools = [...this.#pools].sort();
    this.kinds = new Set(
      fields
        .list('kinds', request.kinds, 0, MAX_KINDS)
        .map((kind, index) => enumValue(`kinds[${index}]`, kind, KINDS, 'HEALTH_EVENT_KIND_')),
    );
    this.hash = shortHash([this.pools, [...this.kinds].sort()]);
  }

  wants(change: Pick<HealthChange, 'kind' | 'pool'>): boolean {
    return this.wantsKind(change.kind) && (this.#pools.size === 0 || this.#pools.has(change.pool));
  }

  wantsKind(kind: HealthEventKind): boolean {
    return this.kinds.size === 0 || this.kinds.has(kind);
  }
}

/** Tells contents apart in a resume token. */
export function shortHash(content: unknown): string {
  return createHash('sha256').update(JSON.stringify(content)).digest('base64url').slice(0, 12);
}
