import { serveWaiting } from '../../engine/acquire.ts';
import type { Pool } from '../../engine/pool.ts';
import { ImportStatus } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { ImportOrder, ImportOutcome, ImportView, Page } from '../store.ts';
import { type AdminContext, pause, wallNow } from './admin-context.ts';
import { type ImportedKey, ImportPlan, type ImportResult, type ReimportedKey } from './import-plan.ts';
import type { ImportRow, KeyRow } from './journal.ts';
import type { KeyAdmin } from './key-admin.ts';
import { addPastRows, noPastRows, withPast } from './key-past.ts';
import { keyRow } from './row-writer.ts';
import { serializeRows } from './serialized-rows.ts';

/** Keys handled between two turns of the event loop: about a millisecond's work. */
const SLICE = 50;

interface Sealed {
  ordinal: number;
  sealed: Uint8Array;
}

interface Prepared {
  /** "" for what the service refused. */
  fingerprint: string;
  /** undefined: not needed as far as is known. */
  sealed: Sealed | undefined;
}

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
    const prepared = await this.#prepare(order);
    if (order.validateOnly) {
      const { results } = await this.#decide(order, engine.pool(order.pool), prepared);
      return { results, record: view(this.#record(0, order, results)), replayed: false };
    }
    let outcome!: ImportOutcome;
    await committer.exclusive({
      plan: async () => {
        const pool = engine.pool(order.pool);
        const { results, created, updated } = await this.#decide(order, pool, prepared);
        const serialized = await serializeKeys(pool, { created, updated }, clock.wallOffset());
        const record = this.#record(++this.#lastId, order, results);
        outcome = { results, record: view(record), replayed: false };
        replays.remember(order.idempotency, outcome);
        return {
          rows: { serialized, imports: [record] },
          apply: async () => {
            await inSlices(created, ({ fresh, past, apiKey }) => {
              this.#keys.added(engine.addKey(pool, withPast(fresh, past), clock.now()), apiKey);
            });
            await inSlices(updated, ({ key, settings, record: changed }) => {
              Object.assign(key.record, { ...changed, revision: key.record.revision });
              engine.changeKey(key, settings, clock.now());
            });
            serveWaiting(engine, pool, clock.now());
          },
        };
      },
      refused: () => replays.forget(order.idempotency),
    });
    return outcome;
  }

  /** Fingerprints all and seals what is new, before it is this import's turn: the longest part of the work. */
  async #prepare(order: ImportOrder): Promise<Prepared[]> {
    const { vault, fingerprints } = this.#context;
    const prepared: Prepared[] = [];
    await inSlices(order.items, (item) => {
      const fingerprint = 'key' in item ? vault.fingerprint(item.key.apiKey) : '';
      const isNew = 'key' in item && !order.validateOnly && !fingerprints.has(fingerprint);
      prepared.push({ fingerprint, sealed: isNew ? this.#seal(item.key.apiKey) : undefined });
    });
    return prepared;
  }

  async #decide(order: ImportOrder, pool: Pool, prepared: readonly Prepared[]): Promise<ImportPlan> {
    const { fingerprints, healthLog, engine, clock } = this.#context;
    const plan = new ImportPlan(order, pool, {
      at: { now: clock.now(), wallOffset: clock.wallOffset() },
      verify: engine.verify,
      known: (fingerprint) => fingerprints.get(fingerprint),
      // A key that was known when the import was prepared may have been deleted since.
      seal: (index, apiKey) => prepared[index]!.sealed ?? this.#seal(apiKey),
      nextRevision: () => healthLog.next(),
    });
    await inSlices(prepared, ({ fingerprint }, index) => plan.take(index, fingerprint));
    return plan;
  }

  #seal(apiKey: string): Sealed {
    const ordinal = this.#context.claimOrdinals(1);
    return { ordinal, sealed: this.#context.vault.seal(ordinal, apiKey) };
  }

  #record(id: number, order: ImportOrder, results: readonly ImportResult[]): ImportRow {
    const count = (...statuses: ImportStatus[]): number =>
      results.filter((each) => statuses.includes(each.status)).length;
    return {
      id,
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

/** Keys, and what is kept beside them, in parts. */
async function serializeKeys(
  pool: Pool,
  { created, updated }: { created: readonly ImportedKey[]; updated: readonly ReimportedKey[] },
  wallOffset: number,
): Promise<Uint8Array[]> {
  const parts: Uint8Array[] = [];
  let part = { keys: [] as KeyRow[], ...noPastRows() };
  const endPart = (): void => {
    parts.push(serializeRows(part));
    part = { keys: [], ...noPastRows() };
  };
  const add = (row: KeyRow): void => {
    if (part.keys.push(row) === SLICE) endPart();
  };
  await inSlices(created, ({ fresh, past, sealed }) => {
    if (past !== undefined) addPastRows(part, { ...fresh, ...past }, wallOffset);
    add(keyRow(fresh, pool.name, sealed));
  });
  await inSlices(updated, ({ key: { ordinal }, settings, record }) =>
    add(keyRow({ ordinal, settings, record }, pool.name, undefined)),
  );
  endPart();
  return parts;
}

async function inSlices<T>(items: readonly T[], each: (item: T, index: number) => void): Promise<void> {
  for (let index = 0; index < items.length; index++) {
    each(items[index]!, index);
    if (index % SLICE === SLICE - 1) await pause();
  }
}

function view({ id, ...row }: ImportRow): ImportView {
  return { ...row, importId: id === 0 ? '' : String(id) };
}
