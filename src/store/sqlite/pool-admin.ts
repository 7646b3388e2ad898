import { serveWaiting } from '../../engine/acquire.ts';
import { BalancerError, invalidField } from '../../engine/errors.ts';
import type { Pool } from '../../engine/pool.ts';
import { DEFAULT_POOL } from '../../engine/settings.ts';
import { HealthEventKind } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { Idempotency, Page, PoolSettings, PoolView } from '../store.ts';
import { type AdminContext, wallNow } from './admin-context.ts';
import { checkEtag } from './key-admin.ts';
import { poolRow } from './row-writer.ts';
import { emptyStats, etagOf } from './views.ts';

/** Pools as administrators see and change them. */
export class PoolAdmin {
  readonly #context: AdminContext;

  constructor(context: AdminContext) {
    this.#context = context;
  }

  list(query: { after: string; limit: number }): Page<PoolView> {
    const names = [...this.#context.engine.pools.keys()].sort().filter((name) => name > query.after);
    const items = names.slice(0, query.limit).map((name) => this.#view(this.#context.engine.pool(name)));
    return { items, next: names.length > query.limit ? items[items.length - 1]!.pool : '' };
  }

  async create(order: { pool: PoolSettings; idempotency: Idempotency | undefined }): Promise<PoolView> {
    const { engine, committer, replays } = this.#context;
    const { pool: settings } = order;
    const answer: PoolView = { ...settings, etag: etagOf(1), stats: emptyStats(settings.pool) };
    return replays.once(
      order.idempotency,
      async () => {
        await committer.exclusive({
          plan: () => {
            if (engine.pools.has(settings.pool)) {
              throw new BalancerError('KEY_ALREADY_EXISTS', `pool "${settings.pool}" exists already`, {
                metadata: { pool: settings.pool },
              });
            }
            checkTtls(settings);
            replays.remember(order.idempotency, answer);
            return { rows: { pools: [poolRow(settings, 1)] }, apply: () => void engine.addPool(settings) };
          },
          refused: () => replays.forget(order.idempotency),
        });
        return answer;
      },
      (remembered) => JSON.parse(remembered) as PoolView,
    );
  }

  async update(order: { pool: string; etag: string; change: Partial<Omit<PoolSettings, 'pool'>> }): Promise<PoolView> {
    const { engine, committer, clock, healthLog } = this.#context;
    let pool!: Pool;
    await committer.exclusive({
      plan: () => {
        pool = engine.pool(order.pool);
        checkEtag(order.etag, pool.version, `pool "${order.pool}"`);
        const settings = { ...pool.settings, ...order.change };
        checkTtls(settings);
        const capMoved = settings.maxConcurrentLeases !== pool.settings.maxConcurrentLeases;
        // Numbered here, so that its number is stored with it.
        const change = healthLog.poolEvent(HealthEventKind.POOL_CHANGED, pool.name, wallNow(this.#context));
        return {
          rows: { pools: [poolRow(settings, pool.version + 1)] },
          apply: () => {
            const now = clock.now();
            pool.settings = settings;
            pool.version++;
            pool.settingsVersion++;
            if (capMoved) for (const key of pool.keys) if (key !== undefined) pool.place(key, now);
            serveWaiting(engine, pool, now);
            healthLog.announce(change);
          },
        };
      },
    });
    return this.#view(pool);
  }

  async delete(order: { pool: string; etag: string }): Promise<void> {
    const { engine, committer } = this.#context;
    await committer.exclusive({
      plan: () => {
        const pool = engine.pool(order.pool);
        if (order.pool === DEFAULT_POOL.pool) throw invalidField('pool', order.pool, 'any pool but "default"');
        checkEtag(order.etag, pool.version, `pool "${order.pool}"`);
        if (pool.keyCount > 0) {
          throw new BalancerError('POOL_NOT_EMPTY', `pool "${order.pool}" still holds ${pool.keyCount} keys`, {
            metadata: { pool: order.pool, keys: String(pool.keyCount) },
          });
        }
        return {
          rows: { deletedPools: [order.pool] },
          apply: () => {
            engine.pools.delete(order.pool);
          },
        };
      },
    });
  }

  #view(pool: Pool): PoolView {
    return { ...pool.settings, etag: etagOf(pool.version), stats: this.#context.statsOf(pool) };
  }
}

function checkTtls(settings: PoolSettings): void {
  if (settings.defaultLeaseTtlMs <= settings.maxLeaseTtlMs) return;
  throw invalidField(
    'pool.default_lease_ttl',
    `${settings.defaultLeaseTtlMs / 1000} s`,
    `at most max_lease_ttl, ${settings.maxLeaseTtlMs / 1000} s`,
  );
}
