import { serveWaiting } from '../../engine/acquire.ts';
import { setRests } from '../../engine/cooldowns.ts';
import { endingOf } from '../../engine/engine.ts';
import { BalancerError, shown } from '../../engine/errors.ts';
import { HEALTHY } from '../../engine/health.ts';
import { type Key, keyId, NO_LEASES, ordinalOf, projectName, type Resting, stateOf } from '../../engine/key.ts';
import { LeaseState } from '../../engine/lease.ts';
import { newProject } from '../../engine/projects.ts';
import { pardon } from '../../engine/quarantine.ts';
import { noUsage } from '../../engine/usage.ts';
import { ErrorClass, HealthEventKind, KeyState } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import type {
  CreateKeyOrder,
  HealthChange,
  KeyFigures,
  KeyQuery,
  KeyView,
  Page,
  Replayable,
  UpdateKeyOrder,
} from '../store.ts';
import { redactKey } from '../vault.ts';
import { type AdminContext, wallNow } from './admin-context.ts';
import type { Plan } from './committer.ts';
import type { ModelUsageRow, Rows } from './journal.ts';
import { ownerOf, statusRow } from './judged-rows.ts';
import { KeyList } from './key-list.ts';
import { healthRow, keyRow, poolUsageRow } from './row-writer.ts';
import { etagOf, keyView } from './views.ts';

/** Keys as administrators see and change them. */
export class KeyAdmin {
  readonly #context: AdminContext;
  readonly #list: KeyList;

  constructor(context: AdminContext) {
    this.#context = context;
    this.#list = new KeyList(context.engine, (key) => this.#view(key));
  }

  get(id: string): KeyView {
    return this.#view(this.#context.engine.key(id));
  }

  list(query: KeyQuery): Page<KeyView> & { totalSize: number } {
    return this.#list.page(query);
  }

  /** The first keys, in short. */
  figures(limit: number): KeyFigures[] {
    return this.#list.first(limit).map((key) => ({
      keyId: keyId(key.ordinal),
      pool: key.pool.name,
      project: projectName(key),
      state: key.state,
      activeLeases: key.active,
      faults: key.faults && { ...key.faults },
    }));
  }

  /** Keys whose health changed after a revision, in key id order. */
  healthPage(query: { pools: readonly string[]; sinceRevision: number; after: string; limit: number }): Page<KeyView> {
    return this.#list.changed(query);
  }

  create(order: CreateKeyOrder): Promise<Replayable<KeyView>> {
    const { engine, committer, replays, vault, healthLog, claimOrdinals } = this.#context;
    const first = async (): Promise<KeyView> => {
      engine.pool(order.pool);
      const ordinal = claimOrdinals(1);
      const sealed = vault.seal(ordinal, order.apiKey);
      const fingerprint = vault.fingerprint(order.apiKey);
      let answer!: KeyView;
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
          answer = this.#view(this.#expected({ ...fresh, ...UNUSED, pool }));
          replays.remember(order.idempotency, answer);
          return {
            rows: { keys: [keyRow(fresh, pool.name, sealed)] },
            apply: () => {
              this.added(engine.addKey(pool, fresh, this.#context.clock.now()), order.apiKey);
              serveWaiting(engine, pool, this.#context.clock.now());
            },
          };
        },
        refused: () => replays.forget(order.idempotency),
      });
      return answer;
    };
    return replays.once(order.idempotency, first, (answer) => JSON.parse(answer) as KeyView);
  }

  update(order: UpdateKeyOrder): Promise<Replayable<KeyView>> {
    const { engine, committer, replays, vault, fingerprints, secrets, clock } = this.#context;
    const first = async (): Promise<KeyView> => {
      let answer!: KeyView;
      await committer.exclusive({
        plan: () => {
          const key = engine.key(order.keyId);
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
          const cleared = newApiKey === undefined ? {} : CLEARED;
          answer = this.#view(this.#expected({ ...key, settings, record, ...cleared }));
          replays.remember(order.idempotency, answer);
          const rows: Rows = { keys: [keyRow({ ordinal: key.ordinal, settings, record }, key.pool.name, sealed)] };
          // Of the new key's own health nothing is known; its project rests as before.
          if (newApiKey !== undefined) Object.assign(rows, this.#clearedRows(key, [key]));
          return {
            rows,
            apply: () => {
              const now = clock.now();
              fingerprints.delete(key.record.fingerprint);
              fingerprints.set(fingerprint, key);
              Object.assign(key.record, { ...record, revision: key.record.revision });
              if (newApiKey !== undefined) {
                secrets.set(key.ordinal, newApiKey);
                key.secretSince = now;
                this.#clear(key, [key], now);
              }
              engine.changeKey(key, settings, now);
              serveWaiting(engine, key.pool, now);
            },
          };
        },
        refused: () => replays.forget(order.idempotency),
      });
      return answer;
    };
    return replays.once(order.idempotency, first, (answer) => JSON.parse(answer) as KeyView);
  }

  async delete(order: { keyId: string; etag: string; allowMissing: boolean }): Promise<void> {
    const { engine, committer, clock, fingerprints, secrets, healthLog } = this.#context;
    await committer.exclusive({
      plan: () => {
        if (order.allowMissing && !engine.keys.has(ordinalOf(order.keyId) ?? -1)) return NOTHING;
        const key = engine.key(order.keyId);
        checkEtag(order.etag, key.record.version, `key ${order.keyId}`);
        const revision = healthLog.next();
        return {
          rows: {
            deletedKeys: [key.ordinal],
            removedKeys: [{ ordinal: key.ordinal, pool: key.pool.name, revision }],
            ...countsWithout(key),
          },
          apply: () => {
            fingerprints.delete(key.record.fingerprint);
            secrets.delete(key.ordinal);
            this.#list.delete(key);
            const previousState = key.state;
            engine.removeKey(key, clock.now());
            // Cooldowns that came while this was being stored go too.
            key.rests = [];
            engine.changes.resting.add(key);
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
    let key!: Key;
    await committer.exclusive({
      plan: () => {
        key = engine.key(id);
        const resting = [key, key.project];
        return {
          rows: this.#clearedRows(key, resting),
          apply: () => {
            this.#clear(key, resting, clock.now());
            serveWaiting(engine, key.pool, clock.now());
          },
        };
      },
    });
    return this.#view(key);
  }

  /** What a key brings with it besides its place in the engine. */
  added(key: Key, apiKey: string): void {
    const { fingerprints, secrets, healthLog, engine } = this.#context;
    fingerprints.set(key.record.fingerprint, key);
    secrets.resize(engine.keys.size);
    secrets.set(key.ordinal, apiKey);
    this.#list.add(key);
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

  /** A key as it will be once this is applied: what an answer tells has to be known before it is stored. */
  #expected(key: Key): Key {
    const { engine, clock } = this.#context;
    const name = projectName(key);
    const known = name === key.project.name ? key.project : engine.projects.get(name);
    const expected = { ...key, project: known ?? newProject(name) };
    return { ...expected, state: stateOf(expected, clock.now()) };
  }

  #clearedRows(key: Key, resting: readonly Resting[]): Rows {
    return {
      health: [healthRow({ ...key, health: HEALTHY }, this.#context.clock.wallOffset())],
      status: [statusRow({ ...key, ...CLEARED }, this.#context.clock.wallOffset())],
      endedCooldowns: resting.flatMap((each) => each.rests.map((rest) => ({ ...ownerOf(each), model: rest.model }))),
    };
  }

  #clear(key: Key, resting: readonly Resting[], now: number): void {
    const { engine } = this.#context;
    engine.setHealth(key, HEALTHY, now);
    for (const each of resting) setRests(engine, each, [], now);
    pardon(engine, key, now);
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
    const { clock } = this.#context;
    return keyView(key, { now: clock.now(), wallOffset: clock.wallOffset() });
  }
}

/** What a new key has beside its settings. */
const UNUSED = {
  kind: 'key' as const,
  slot: -1,
  group: -1,
  project: newProject(''),
  learnedProject: undefined,
  suspicion: undefined,
  lastVerified: -Infinity,
  disabledFor: ErrorClass.UNSPECIFIED,
  health: HEALTHY,
  state: KeyState.UNSPECIFIED,
  active: 0,
  leases: NO_LEASES,
  usage: noUsage(),
  lastAcquire: undefined,
  faults: undefined,
  secretSince: -Infinity,
  rests: [],
  keys: new Set<Key>(),
  deadline: 0,
  heapIndex: -1,
};

/** What an administrator takes away from a key by a reset, or with another API key. */
const CLEARED = {
  health: HEALTHY,
  rests: [],
  suspicion: undefined,
  learnedProject: undefined,
  disabledFor: ErrorClass.UNSPECIFIED,
};

const NOTHING: Plan = { rows: {}, apply: () => {} };

/** Counts of the key's pool and its models once the key's active leases have ended with it. */
function countsWithout(key: Key): Pick<Rows, 'poolUsage' | 'modelUsage'> {
  const { pool } = key;
  const poolUsage = poolUsageRow(pool);
  const modelUsage = new Map<string, ModelUsageRow>();
  for (const lease of key.leases) {
    if (lease.state !== LeaseState.ACTIVE) continue;
    const ending = endingOf({ ...lease, state: LeaseState.LEFT });
    const { model, counts } = pool.usageOf(lease.model);
    const ofModel = modelUsage.get(model) ?? { ...counts, pool: pool.name, model };
    modelUsage.set(model, ofModel);
    poolUsage[ending]++;
    ofModel[ending]++;
  }
  return { poolUsage: [poolUsage], modelUsage: [...modelUsage.values()] };
}

/** An etag that is given must be the present one. */
export function checkEtag(given: string, version: number, what: string): void {
  if (given === '' || given === etagOf(version)) return;
  throw new BalancerError('ETAG_MISMATCH', `${what} was changed since etag ${shown(given)} was read; read it anew`);
}
