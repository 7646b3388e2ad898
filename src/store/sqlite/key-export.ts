import { ordinalOf } from '../../engine/key.ts';
import type { ExportedKey } from '../open-store.ts';
import type { KeySettings, KeyView, Store } from '../store.ts';
import type { Vault } from '../vault.ts';
import type { Journal } from './journal.ts';

/** Keys whose secrets are read at once. */
const PART = 200;

/** Keys in plain text, in the order of their ids. One that is deleted meanwhile is left out. */
export async function* exportKeys(
  store: Pick<Store, 'listKeys'>,
  journal: Pick<Journal, 'readSecret'>,
  vault: Vault,
  pool: string,
): AsyncGenerator<ExportedKey[]> {
  const query = { pool, states: [], project: '', source: '', labels: {}, limit: PART };
  const opened = async (key: KeyView): Promise<ExportedKey | undefined> => {
    const ordinal = ordinalOf(key.keyId)!;
    const sealed = await journal.readSecret(ordinal);
    return sealed && { apiKey: vault.open(ordinal, sealed), pool: key.pool, settings: settingsOf(key) };
  };
  let after = '';
  do {
    const { items, next } = await store.listKeys({ ...query, after });
    const keys = await Promise.all(items.map(opened));
    yield keys.filter((key) => key !== undefined);
    after = next;
  } while (after !== '');
}

function settingsOf(key: KeyView): KeySettings {
  const { project, weight, maxConcurrentLeases, models, source, labels, tier, disabled } = key;
  return { project, weight, maxConcurrentLeases, models, source, labels, tier, disabled };
}
