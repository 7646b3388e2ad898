import { serveWaiting } from '../../engine/acquire.ts';
import { BalancerError } from '../../engine/errors.ts';
import { HEALTHY } from '../../engine/health.ts';
import { type Key, keyId, ordinalOf } from '../../engine/key.ts';
import { LeaseState } from '../../engine/lease.ts';
import { HealthEventKind, KeyState } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { CreateKeyOrder, HealthChange, KeyQuery, KeyView, Page, Replayable, UpdateKeyOrder } from '../store.ts';
import { redactKey } from '../vault.ts';
import { type AdminContext, wallNow } from './admin-context.ts';
import type { Rows } from './journal.ts';
import { healthRow, keyRow, ownerOf, poolUsageRow } from './row-writer.ts';
import { etagOf, keyView } from './views.ts';

/** Keys as administrators see and change them. */
export class KeyAdmin {
  readonly #context: AdminContext;

  constructor(context: AdminContext) {
    this.#context = context;
  }

  get(id: string): KeyView {
    return this.#view(this.#context.engine.key(id));
  }

  list(query: KeyQuery): Page<KeyView> & { totalSize: number } {
    const { engine } = this.#context;
    if (query.pool !== '') engine.pool(query.pool);
    const after = query.after === '' ? 0 : (ordinalOf(query.after) ?? 0);
    const labels = Object.entries(query.labels);
    const items: KeyView[] = [];
    let totalSize = 0;
    let more = false;
    // Keys came in the order of their ordinals, and a map keeps it.
    for (const key of engine.keys.values()) {
      if (query.pool !== '' && key.pool.name !== query.pool) continue;
      if (query.states.length > 0 && !query.states.includes(key.state)) continue;
      if (query.project !== '' && key.settings.project !== query.project) continue;
      if (query.source !== '' && key.settings.source !== query.source) continue;
      if (!labels.every(([name, value]) => key.settings.labels[name] === value)) continue;
      totalSize++;
      if (key.ordinal <= after) continue;
      if (items.length < query.limit) items.push(this.#view(key));
      else more = true;
    }
    return { items, next: more ? items[items.length - 1]!.keyId : '', totalSize };
  }

  /** Keys whose health changed after a revision, in key id order. */
  healthPage(query: { pools: readonly string[]; sinceRevision: number; after: string; limit: number }): Page<KeyView> {
    const after = query.after === '' ? 0 : (ordinalOf(query.after) ?? 0);
    const items: KeyView[] = [];
    for (const key of this.#context.engine.keys.values()) {
      if (key.ordinal <= after || key.record.revision <= query.sinceRevision) continue;
      if (query.pools.length > 0 && !query.pools.includes(key.pool.name)) continue;
      if (items.length === query.limit) return { items, next: items[items.length - 1]!.keyId };
      items.push(this.#view(key));
    }
    return { items, next: '' };
  }

  create(order: CreateKeyOrder): Promise<Replayable<KeyView>> {
    const { engine, committer, replays, vault, healthLog, fingerprints, claimOrdinals } = this.#context;
    const first = async (): Promise<KeyView> => {
      engine.pool(order.pool);
      const ordinal = claimOrdinals(1);
      const sealed = vault.seal(ordinal, order.apiKey);
      const fingerprint = vault.fingerprint(order.apiKey);
      let key: Key | undefined;
      await committer.exclusive({
        plan: () => {
          const pool = engine.pool(order.pool);
          this.#refuseDuplicate(fingerprint);
          const now = wallNow(this.#context);
          const revision = healthLog.next();
          const record = {
            fingerprint,
            redactedKey: redactKey(order.apiKey),
            createTime: now,
            updateTime: now,
            version: 1,
            revision,
            createRevision: revision,
          };
          const fresh = { ordinal, settings: order.settings, record };
          replays.remember(order.idempotency, keyId(ordinal));
          return {
            rows: { keys: [keyRow(fresh, pool.name, sealed)] },
            apply: () => {
              key = engine.addKey(pool, fresh, this.#context.clock.now());
              this.added(key, order.apiKey);
              serveWaiting(engine, pool, this.#context.clock.now());
            },
          };
        },
        refused: () => replays.forget(order.idempotency),
      });
      fingerprints.set(fingerprint, key!);
      return this.#view(key!);
    };
    return replays.once(order.idempotency, first, (answer) => this.get(JSON.parse(answer) as string));
  }

  update(order: UpdateKeyOrder): Promise<Replayable<KeyView>> {
    const { engine, committer, replays, vault, fingerprints, secrets, clock } = this.#context;
    const first = async (): Promise<KeyView> => {
      const key = engine.key(order.keyId);
      await committer.exclusive({
        plan: () => {
          if (engine.keys.get(key.ordinal) !== key) engine.key(order.keyId);
          checkEtag(order.etag, key.record.version, `key ${order.keyId}`);
          const { newApiKey } = order;
          const fingerprint = newApiKey === undefined ? key.record.fingerprint : vault.fingerprint(newApiKey);
          if (fingerprint !== key.record.fingerprint) this.#refuseDuplicate(fingerprint);
          const settings = { ...key.settings, ...order.change };
          const record = {
            ...key.record,
            fingerprint,
            redactedKey: newApiKey === undefined ? key.record.redactedKey : redactKey(newApiKey),
            version: key.record.version + 1,
            updateTime: wallNow(this.#context),
          };
          const sealed = newApiKey === undefined ? undefined : vault.seal(key.ordinal, newApiKey);
          replays.remember(order.idempotency, keyId(key.ordinal));
          const rows: Rows = { keys: [keyRow({ ordinal: key.ordinal, settings, record }, key.pool.name, sealed)] };
          if (newApiKey !== undefined) Object.assign(rows, this.#clearedRows(key));
          return {
            rows,
            apply: () => {
              const now = clock.now();
              fingerprints.delete(key.record.fingerprint);
              fingerprints.set(fingerprint, key);
              Object.assign(key.record, { ...record, revision: key.record.revision });
              if (newApiKey !== undefined) {
                secrets.set(key.ordinal, newApiKey);
                this.#clear(key, now);
              }
              engine.changeKey(key, settings, now);
              serveWaiting(engine, key.pool, now);
            },
          };
        },
        refused: () => replays.forget(order.idempotency),
      });
      return this.#view(key);
    };
    return replays.once(order.idempotency, first, (answer) => this.get(JSON.parse(answer) as string));
  }

  async delete(order: { keyId: string; etag: string; allowMissing: boolean }): Promise<void> {
    const { engine, committer, clock, fingerprints, secrets, healthLog } = this.#context;
    const known = engine.keys.get(ordinalOf(order.keyId) ?? -1);
    if (known === undefined && order.allowMissing) return;
    const key = engine.key(order.keyId);
    await committer.exclusive({
      plan: () => {
        if (engine.keys.get(key.ordinal) !== key) engine.key(order.keyId);
        checkEtag(order.etag, key.record.version, `key ${order.keyId}`);
        const revision = healthLog.next();
        // Its active leases end as released, which the pool goes on counting.
        const usage = poolUsageRow(key.pool);
        usage.released += key.active;
        return {
          rows: {
            deletedKeys: [key.ordinal],
            removedKeys: [{ ordinal: key.ordinal, pool: key.pool.name, revision }],
            poolUsage: [usage],
          },
          apply: () => {
            fingerprints.delete(key.record.fingerprint);
            secrets.delete(key.ordinal);
            const previousState = key.state;
            engine.removeKey(key, clock.now());
            serveWaiting(engine, key.pool, clock.now());
            const id = keyId(key.ordinal);
            healthLog.remember({ keyId: id, pool: key.pool.name, revision });
            const change = this.#change(HealthEventKind.KEY_REMOVED, key, revision);
            healthLog.announce({ ...change, key: undefined, previousState });
          },
        };
      },
    });
  }

  async reset(id: string): Promise<KeyView> {
    const { engine, committer, clock } = this.#context;
    const key = engine.key(id);
    await committer.exclusive({
      plan: () => {
        if (engine.keys.get(key.ordinal) !== key) engine.key(id);
        return {
          rows: this.#clearedRows(key),
          apply: () => {
            this.#clear(key, clock.now());
            serveWaiting(engine, key.pool, clock.now());
          },
        };
      },
    });
    return this.#view(key);
  }

  listLeases(query: { pool: string; keyId: string; after: string; limit: number }) {
    const { engine, clock } = this.#context;
    if (query.pool !== '') engine.pool(query.pool);
    const ofKey = query.keyId === '' ? undefined : engine.key(query.keyId);
    const [afterBoot, afterSeq] = query.after === '' ? [0, 0] : query.after.split('.').map(Number);
    const items = [];
    for (const boot of [...engine.leases.keys()].sort((a, b) => a - b)) {
      if (boot < afterBoot!) continue;
      for (const lease of engine.leases.get(boot)!.values()) {
        if (boot === afterBoot && lease.seq <= afterSeq!) continue;
        if (lease.state !== LeaseState.ACTIVE || (ofKey !== undefined && lease.key !== ofKey)) continue;
        if (query.pool !== '' && lease.key.pool.name !== query.pool) continue;
        if (items.length === query.limit) return { items, next: items[items.length - 1]!.leaseRef };
        items.push({
          leaseRef: `${lease.boot}.${lease.seq}`,
          keyId: keyId(lease.key.ordinal),
          pool: lease.key.pool.name,
          model: lease.model,
          holder: lease.caller,
          acquireTime: lease.acquireTime + clock.wallOffset(),
          expireTime: lease.expireTime + clock.wallOffset(),
        });
      }
    }
    return { items, next: '' };
  }

  async revokeLease(ref: string): Promise<void> {
    const { engine, committer, clock } = this.#context;
    const [boot, seq] = ref.split('.').map(Number);
    const lease = engine.leases.get(boot ?? -1)?.get(seq ?? -1);
    if (lease?.state !== LeaseState.ACTIVE) {
      throw new BalancerError('LEASE_NOT_FOUND', `no active lease has the ref ${JSON.stringify(ref)}`);
    }
    engine.suspend(lease, LeaseState.LEFT, clock.now());
    serveWaiting(engine, lease.key.pool, clock.now());
    await committer.confirm();
  }

  /** What a key brings with it besides its place in the engine. */
  added(key: Key, apiKey: string): void {
    const { fingerprints, secrets, healthLog, engine } = this.#context;
    fingerprints.set(key.record.fingerprint, key);
    secrets.resize(engine.keys.size);
    secrets.set(key.ordinal, apiKey);
    healthLog.announce(this.#change(HealthEventKind.KEY_ADDED, key, key.record.revision));
  }

  #change(kind: HealthEventKind, key: Key, revision: number): HealthChange {
    return {
      revision,
      time: wallNow(this.#context),
      kind,
      pool: key.pool.name,
      model: '',
      keyId: keyId(key.ordinal),
      key: this.#view(key),
      previousState: KeyState.UNSPECIFIED,
    };
  }

  #clearedRows(key: Key): Rows {
    const resting = [key, ...(key.project === undefined ? [] : [key.project])];
    return {
      health: [healthRow({ ...key, health: HEALTHY }, this.#context.clock.wallOffset())],
      endedCooldowns: resting.flatMap((each) => each.rests.map((rest) => ({ ...ownerOf(each), model: rest.model }))),
    };
  }

  #clear(key: Key, now: number): void {
    const { engine } = this.#context;
    engine.setHealth(key, HEALTHY, now);
    engine.setRests(key, [], now);
    if (key.project !== undefined) engine.setRests(key.project, [], now);
  }

  #refuseDuplicate(fingerprint: string): void {
    const known = this.#context.fingerprints.get(fingerprint);
    if (known === undefined) return;
    const id = keyId(known.ordinal);
    throw new BalancerError('KEY_ALREADY_EXISTS', `this API key is ${id} of pool "${known.pool.name}" already`, {
      metadata: { key_id: id, pool: known.pool.name },
    });
  }

  #view(key: Key): KeyView {
    return keyView(key, this.#context.clock.wallOffset());
  }
}

/** An etag that is given must be the present one. */
export function checkEtag(given: string, version: number, what: string): void {
  if (given === '' || given === etagOf(version)) return;
  throw new BalancerError(
    'ETAG_MISMATCH',
    `${what} was changed since etag ${JSON.stringify(given)} was read; read it anew`,
  );
}
