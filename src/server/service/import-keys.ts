import { createHash } from 'node:crypto';
import { toBinary } from '@bufbuild/protobuf';
import { BalancerError } from '../../engine/errors.ts';
import {
  ImportConflict,
  type ImportKeyResult,
  type ImportKeysRequest,
  ImportKeysRequestSchema,
  type ImportKeysResponse,
  type ImportRecord,
  type KeyToImport,
  KeyToImportSchema,
} from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { ImportItem, ImportOrder, ImportOutcome, ImportView } from '../../store/store.ts';
import { enumValue } from './enum-field.ts';
import * as fields from './fields.ts';
import { itemError } from './item-error.ts';
import { inOrder } from './label-order.ts';
import type { ServiceContext } from './service-context.ts';
import type { CallContext } from './service-functions.ts';
import { timestampMessage } from './time-messages.ts';

const MAX_KEYS = 10_000;
const MAX_SOURCE = 128;
const MAX_TIER = 9;
/** Keys read between two turns of the event loop: about a millisecond's work. */
const SLICE = 50;

/** Reads thousands of keys in slices: those who acquire meanwhile must not wait for all of them. */
export async function importKeys(
  { store }: ServiceContext,
  request: ImportKeysRequest,
  call: CallContext,
): Promise<ImportKeysResponse> {
  const outcome = await store.importKeys(await importOrder(request, call));
  const results: ImportKeyResult[] = [];
  await inSlices(outcome.results, (result) => results.push(resultMessage(result)));
  return {
    $typeName: 'keybalancer.v1.ImportKeysResponse',
    results,
    record: importRecordMessage(outcome.record),
    replayed: outcome.replayed,
  };
}

export function importRecordMessage(record: ImportView): ImportRecord {
  const { importId, pool, source, created, updated, unchanged, rejected } = record;
  const importTime = timestampMessage(record.importTime);
  const counts = { created, updated, unchanged, rejected };
  return { $typeName: 'keybalancer.v1.ImportRecord', importId, pool, source, importTime, ...counts };
}

async function importOrder(request: ImportKeysRequest, call: CallContext): Promise<ImportOrder> {
  const { requestId } = request;
  const pool = fields.poolName(request.pool);
  const keys = fields.list('keys', request.keys, 1, MAX_KEYS);
  const source = fields.text('source', request.source, MAX_SOURCE);
  const onConflict = enumValue('on_conflict', request.onConflict, ImportConflict, 'IMPORT_CONFLICT_');
  const items: ImportItem[] = [];
  const hash = requestId === '' ? undefined : createHash('sha256');
  await inSlices(keys, (key, index) => {
    items.push(itemOf(key, `keys[${index}]`));
    if (hash === undefined) return;
    const bytes = toBinary(KeyToImportSchema, { ...key, labels: inOrder(key.labels) });
    // The length says where one key ends and the next begins.
    hash.update(`${bytes.length} `).update(bytes);
  });
  hash?.update(toBinary(ImportKeysRequestSchema, { ...request, keys: [], requestId: '' }));
  return {
    pool,
    items,
    source,
    onConflict: onConflict === ImportConflict.UNSPECIFIED ? ImportConflict.KEEP : onConflict,
    validateOnly: request.validateOnly,
    idempotency: fields.idempotency(call.caller, 'ImportKeys', requestId, () => hash!.digest()),
  };
}

/** A key that is not well formed is refused by itself; the others are imported. */
function itemOf(key: KeyToImport, path: string): ImportItem {
  try {
    return {
      key: {
        apiKey: fields.apiKey(`${path}.api_key`, key.apiKey),
        weight: key.weight === undefined ? undefined : fields.weight(`${path}.weight`, key.weight),
        project: fields.project(`${path}.project`, key.project),
        models: fields.models(`${path}.models`, key.models),
        labels: fields.labels(`${path}.labels`, key.labels),
        tier: fields.integer(`${path}.tier`, key.tier, 0, MAX_TIER),
      },
    };
  } catch (error) {
    if (!(error instanceof BalancerError)) throw error;
    return { refusal: { reason: error.reason, message: error.message } };
  }
}

function resultMessage({ status, keyId, refusal }: ImportOutcome['results'][number]): ImportKeyResult {
  const error = refusal && itemError(new BalancerError(refusal.reason, refusal.message));
  return { $typeName: 'keybalancer.v1.ImportKeyResult', status, keyId, ...(error && { error }) };
}

async function inSlices<T>(items: readonly T[], each: (item: T, index: number) => void): Promise<void> {
  for (let index = 0; index < items.length; index++) {
    each(items[index]!, index);
    if (index % SLICE === SLICE - 1) await new Promise((resolve) => setImmediate(resolve));
  }
}
