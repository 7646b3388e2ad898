import { serveWaiting } from '../../engine/acquire.ts';
import { type Key, keyId } from '../../engine/key.ts';
import type { Pool } from '../../engine/pool.ts';
import type { KeySettings } from '../../engine/settings.ts';
import { ImportConflict, ImportStatus } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { ImportOrder, ImportOutcome, ImportView, KeyToImportOrder, Page } from '../store.ts';
import { redactKey } from '../vault.ts';
import { type AdminContext, pause, wallNow } from './admin-context.ts';
import type { ImportRow, KeyRow } from './journal.ts';
import type { KeyAdmin } from './key-admin.ts';
import { keyRow } from './row-writer.ts';

/** Keys handled between two turns of the event loop: about a millisecond's work. */
const SLICE = 200;

interface Sealed {
  ordinal: number;
  fingerprint: string;
  sealed: Uint8Array;
}

type Result = ImportOutcome['results'][number];

/** Adds many keys in one commit, and keeps the history of that. */
export class Importer {
  readonly #context: AdminContext;
  readonly #keys: KeyAdmin;
  #lastId = 0;

  constructor(context: AdminContext, keys: KeyAdmin) {
    this.#context = context;
    this.#keys = keys;
  }

  async start(): Promise<void> {
    const [newest] = await this.#context.journal.readImports({ pool: '', before: 0, limit: 1 });
    this.#lastId = newest?.id ?? 0;
  }

  import(order: ImportOrder): Promise<ImportOutcome> {
    return this.#context.replays.once(
      order.idempotency,
      () => this.#import(order),
      (answer) => JSON.parse(answer) as ImportOutcome,
    );
  }

  async history(query: { pool: string; after: string; limit: number }): Promise<Page<ImportView>> {
    if (query.pool !== '') this.#context.engine.pool(query.pool);
    const before = query.after === '' ? 0 : Number(query.after);
    const rows = await this.#context.journal.readImports({ pool: query.pool, before, limit: query.limit + 1 });
    const items = rows.slice(0, query.limit).map(view);
    return { items, next: rows.length > query.limit ? items[items.length - 1]!.importId : '' };
  }

  async #import(order: ImportOrder): Promise<ImportOutcome> {
    const { engine, committer, replays, clock } = this.#context;
    engine.pool(order.pool);
    const prepared = await this.#seal(order);
    let outcome!: ImportOutcome;
    await committer.exclusive({
      plan: () => {
        const pool = engine.pool(order.pool);
        const { results, created, updated } = this.#judge(order, pool, prepared);
        const record = this.#record(order, results);
        outcome = { results, record: view(record), replayed: false };
        if (order.validateOnly) return { rows: {}, apply: () => {} };
        this.#lastId = record.id;
        replays.remember(order.idempotency, outcome);
        const rows: KeyRow[] = [
          ...created.map(({ fresh, sealed }) => keyRow(fresh, pool.name, sealed)),
          ...updated.map(({ key, settings, record: changed }) =>
            keyRow({ ordinal: key.ordinal, settings, record: changed }, pool.name, undefined),
          ),
        ];
        return {
          rows: { keys: rows, imports: [record] },
          apply: async () => {
            let done = 0;
            for (const { fresh, apiKey } of created) {
              this.#keys.added(engine.addKey(pool, fresh, clock.now()), apiKey);
              if (++done % SLICE === 0) await pause();
            }
            for (const { key, settings, record: changed } of updated) {
              Object.assign(key.record, { ...changed, revision: key.record.revision });
              engine.changeKey(key, settings, clock.now());
              if (++done % SLICE === 0) await pause();
            }
            serveWaiting(engine, pool, clock.now());
          },
        };
      },
      refused: () => replays.forget(order.idempotency),
    });
    return outcome;
  }

  /** Fingerprints and seals in slices: for thousands of keys that takes longer than others should wait. */
  async #seal(order: ImportOrder): Promise<(Sealed | undefined)[]> {
    const { vault, fingerprints, claimOrdinals } = this.#context;
    const first = claimOrdinals(order.items.length);
    const prepared: (Sealed | undefined)[] = [];
    for (const [index, item] of order.items.entries()) {
      if ('key' in item) {
        const ordinal = first + index;
        const fingerprint = vault.fingerprint(item.key.apiKey);
        const known = fingerprints.has(fingerprint) || order.validateOnly;
        prepared.push({
          ordinal,
          fingerprint,
          sealed: known ? new Uint8Array() : vault.seal(ordinal, item.key.apiKey),
        });
      } else {
        prepared.push(undefined);
      }
      if (index % SLICE === SLICE - 1) await pause();
    }
    return prepared;
  }

  #judge(order: ImportOrder, pool: Pool, prepared: (Sealed | undefined)[]) {
    const { fingerprints, healthLog } = this.#context;
    const now = wallNow(this.#context);
    const results: Result[] = [];
    const created: { fresh: Pick<Key, 'ordinal' | 'settings' | 'record'>; sealed: Uint8Array; apiKey: string }[] = [];
    const updated: { key: Key; settings: KeySettings; record: Key['record'] }[] = [];
    const inRequest = new Map<string, string>();
    for (const [index, item] of order.items.entries()) {
      const ready = prepared[index];
      if (!('key' in item) || ready === undefined) {
        results.push({
          status: ImportStatus.REJECTED,
          keyId: '',
          refusal: 'refusal' in item ? item.refusal : undefined,
        });
        continue;
      }
      const twin = inRequest.get(ready.fingerprint);
      if (twin !== undefined) {
        results.push({ status: ImportStatus.DUPLICATE_IN_REQUEST, keyId: twin, refusal: undefined });
        continue;
      }
      const known = fingerprints.get(ready.fingerprint);
      const id = keyId(known?.ordinal ?? ready.ordinal);
      inRequest.set(ready.fingerprint, order.validateOnly && known === undefined ? '' : id);
      if (known === undefined) {
        const revision = order.validateOnly ? 0 : healthLog.next();
        const record = {
          fingerprint: ready.fingerprint,
          redactedKey: redactKey(item.key.apiKey),
          createTime: now,
          updateTime: now,
          version: 1,
          revision,
          createRevision: revision,
        };
        const fresh = { ordinal: ready.ordinal, settings: settingsOf(item.key, order.source), record };
        created.push({ fresh, sealed: ready.sealed, apiKey: item.key.apiKey });
        results.push({ status: ImportStatus.CREATED, keyId: order.validateOnly ? '' : id, refusal: undefined });
      } else if (known.pool !== pool) {
        const message = `this API key is ${id} of pool "${known.pool.name}" already`;
        results.push({ status: ImportStatus.REJECTED, keyId: id, refusal: { reason: 'KEY_ALREADY_EXISTS', message } });
      } else {
        const settings = { ...known.settings, ...overwritten(item.key, order.source) };
        const differs = order.onConflict === ImportConflict.UPDATE && !same(settings, known.settings);
        if (differs) {
          const record = { ...known.record, version: known.record.version + 1, updateTime: now };
          updated.push({ key: known, settings, record });
        }
        results.push({
          status: differs ? ImportStatus.UPDATED : ImportStatus.UNCHANGED,
          keyId: id,
          refusal: undefined,
        });
      }
    }
    return { results, created, updated };
  }

  #record(order: ImportOrder, results: readonly Result[]): ImportRow {
    const count = (...statuses: ImportStatus[]): number =>
      results.filter((each) => statuses.includes(each.status)).length;
    return {
      id: order.validateOnly ? 0 : this.#lastId + 1,
      pool: order.pool,
      source: order.source,
      importTime: wallNow(this.#context),
      created: count(ImportStatus.CREATED),
      updated: count(ImportStatus.UPDATED),
      unchanged: count(ImportStatus.UNCHANGED, ImportStatus.DUPLICATE_IN_REQUEST),
      rejected: count(ImportStatus.REJECTED),
    };
  }
}

function settingsOf(key: KeyToImportOrder, source: string): KeySettings {
  return {
    project: key.project,
    weight: key.weight ?? 1,
    maxConcurrentLeases: undefined,
    models: key.models,
    source,
    labels: key.labels,
    tier: key.tier,
    disabled: false,
  };
}

/** What IMPORT_CONFLICT_UPDATE overwrites. */
function overwritten(key: KeyToImportOrder, source: string): Partial<KeySettings> {
  return { weight: key.weight ?? 1, project: key.project, source, labels: key.labels };
}

function same(a: KeySettings, b: KeySettings): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

function view({ id, ...row }: ImportRow): ImportView {
  return { ...row, importId: id === 0 ? '' : String(id) };
}
