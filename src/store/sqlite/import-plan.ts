import { type Key, keyId } from '../../engine/key.ts';
import type { Pool } from '../../engine/pool.ts';
import type { Moment } from '../../engine/quota/moment.ts';
import type { KeySettings } from '../../engine/settings.ts';
import { ImportConflict, ImportStatus } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { ImportOrder, ImportOutcome, KeyToImportOrder } from '../store.ts';
import { redactKey } from '../vault.ts';
import { type KeyPast, pastOf } from './key-past.ts';

export type ImportResult = ImportOutcome['results'][number];

/** A key that the import adds. */
export interface ImportedKey {
  fresh: Pick<Key, 'ordinal' | 'settings' | 'record'>;
  past: KeyPast | undefined;
  sealed: Uint8Array;
  /** Secret. */
  apiKey: string;
}

/** A key that was there, and what the import makes of it. */
export interface ReimportedKey {
  key: Key;
  settings: KeySettings;
  record: Key['record'];
}

/** What planning an import needs to know and to ask for. */
export interface PlanHost {
  at: Moment;
  /** Whether Gemini is asked about keys that come quarantined. */
  verify: boolean;
  known: (fingerprint: string) => Key | undefined;
  /** For a key that is new; not asked when the import is only checked. */
  seal: (index: number, apiKey: string) => { ordinal: number; sealed: Uint8Array };
  nextRevision: () => number;
}

/** What becomes of each key of an import, taken one after the other. */
export class ImportPlan {
  readonly results: ImportResult[] = [];
  readonly created: ImportedKey[] = [];
  readonly updated: ReimportedKey[] = [];
  readonly #order: ImportOrder;
  readonly #pool: Pool;
  readonly #host: PlanHost;
  /** Fingerprints met, with the key's id. */
  readonly #met = new Map<string, string>();

  constructor(order: ImportOrder, pool: Pool, host: PlanHost) {
    this.#order = order;
    this.#pool = pool;
    this.#host = host;
  }

  /** `fingerprint`: "" for an item that the service refused. */
  take(index: number, fingerprint: string): void {
    const item = this.#order.items[index]!;
    this.results.push(
      'refusal' in item
        ? { status: ImportStatus.REJECTED, keyId: '', refusal: item.refusal }
        : this.#decide(index, item.key, fingerprint),
    );
  }

  #decide(index: number, key: KeyToImportOrder, fingerprint: string): ImportResult {
    const twin = this.#met.get(fingerprint);
    if (twin !== undefined) return { status: ImportStatus.DUPLICATE_IN_REQUEST, keyId: twin, refusal: undefined };
    const known = this.#host.known(fingerprint);
    const result = known === undefined ? this.#create(index, key, fingerprint) : this.#meet(key, known);
    this.#met.set(fingerprint, result.keyId);
    return result;
  }

  #create(index: number, key: KeyToImportOrder, fingerprint: string): ImportResult {
    const { validateOnly, source } = this.#order;
    if (validateOnly) return { status: ImportStatus.CREATED, keyId: '', refusal: undefined };
    const { at, verify, seal, nextRevision } = this.#host;
    const now = this.#now;
    const { ordinal, sealed } = seal(index, key.apiKey);
    const revision = nextRevision();
    const record = {
      fingerprint,
      redactedKey: redactKey(key.apiKey),
      createTime: Math.min(key.history?.createTime ?? now, now),
      updateTime: now,
      version: 1,
      revision,
      createRevision: revision,
    };
    const fresh = { ordinal, settings: settingsOf(key, source), record };
    const past = key.history && pastOf(key.history, at, verify);
    this.created.push({ fresh, past, sealed, apiKey: key.apiKey });
    return { status: ImportStatus.CREATED, keyId: keyId(ordinal), refusal: undefined };
  }

  #meet(key: KeyToImportOrder, known: Key): ImportResult {
    const { onConflict, source } = this.#order;
    const id = keyId(known.ordinal);
    if (known.pool !== this.#pool) {
      const message = `this API key is ${id} of pool "${known.pool.name}" already`;
      return { status: ImportStatus.REJECTED, keyId: id, refusal: { reason: 'KEY_ALREADY_EXISTS', message } };
    }
    const { settings, record } = known;
    const overwritten = overwrite(settings, key, source);
    if (onConflict !== ImportConflict.UPDATE || same(overwritten, settings)) {
      return { status: ImportStatus.UNCHANGED, keyId: id, refusal: undefined };
    }
    const changed = { ...record, version: record.version + 1, updateTime: this.#now };
    this.updated.push({ key: known, settings: overwritten, record: changed });
    return { status: ImportStatus.UPDATED, keyId: id, refusal: undefined };
  }

  /** Wall clock. */
  get #now(): number {
    const { now, wallOffset } = this.#host.at;
    return now + wallOffset;
  }
}

const NO_MODELS: readonly string[] = [];
const NO_LABELS: Readonly<Record<string, string>> = {};

function settingsOf(key: KeyToImportOrder, source: string): KeySettings {
  return {
    project: key.project,
    weight: key.weight ?? 1,
    maxConcurrentLeases: key.maxConcurrentLeases,
    // One for all that have none: a pool may have a million keys.
    models: key.models.length === 0 ? NO_MODELS : key.models,
    source: key.source || source,
    labels: Object.keys(key.labels).length === 0 ? NO_LABELS : key.labels,
    tier: key.tier,
    disabled: key.disabled,
  };
}

/** IMPORT_CONFLICT_UPDATE overwrites these and no other settings. */
function overwrite(settings: KeySettings, key: KeyToImportOrder, source: string): KeySettings {
  return {
    ...settings,
    weight: key.weight ?? 1,
    project: key.project,
    source: key.source || source,
    labels: key.labels,
  };
}

/** Of what overwrite() sets. The order in which labels came says nothing. */
function same(a: KeySettings, b: KeySettings): boolean {
  const labels = Object.entries(a.labels);
  return (
    a.weight === b.weight &&
    a.project === b.project &&
    a.source === b.source &&
    labels.length === Object.keys(b.labels).length &&
    labels.every(([name, value]) => b.labels[name] === value)
  );
}
