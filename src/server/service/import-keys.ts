import { createHash } from 'node:crypto';
import { toBinary } from '@bufbuild/protobuf';
import { BalancerError } from '../../engine/errors.ts';
import { LOWEST_HEALTH } from '../../engine/health.ts';
import {
  ErrorClass,
  ImportConflict,
  type ImportKeyResult,
  type ImportKeysRequest,
  ImportKeysRequestSchema,
  type ImportKeysResponse,
  type ImportRecord,
  type KeyHistory,
  type KeyToImport,
  KeyToImportSchema,
} from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { ImportItem, ImportOrder, ImportOutcome, ImportView, KeyHistoryOrder } from '../../store/store.ts';
import { enumValue } from './enum-field.ts';
import * as fields from './fields.ts';
import { itemError } from './item-error.ts';
import { inOrder } from './label-order.ts';
import type { ServiceContext } from './service-context.ts';
import type { CallContext } from './service-functions.ts';
import { timestampMessage } from './time-messages.ts';

const MAX_KEYS = 10_000;
const MAX_TIER = 9;
const MAX_COUNT = 2 ** 31 - 1;
/** Sums of a billion keys' calls are whole numbers still. */
const MAX_CALLS = 2 ** 40;
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
  const source = fields.source('source', request.source);
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
        maxConcurrentLeases:
          key.maxConcurrentLeases === undefined
            ? undefined
            : fields.integer(`${path}.max_concurrent_leases`, key.maxConcurrentLeases, 0, MAX_COUNT),
        source: fields.source(`${path}.source`, key.source),
        disabled: key.disabled,
        history: key.history && historyOf(key.history, `${path}.history`),
      },
    };
  } catch (error) {
    if (!(error instanceof BalancerError)) throw error;
    return { refusal: { reason: error.reason, message: error.message } };
  }
}

function historyOf(history: KeyHistory, path: string): KeyHistoryOrder {
  const { healthFactor = 1, quarantined, consecutiveFailures, lastErrorClass, failed } = history;
  return {
    healthFactor: fields.within(`${path}.health_factor`, healthFactor, LOWEST_HEALTH, 1),
    quarantined,
    consecutiveFailures: fields.integer(`${path}.consecutive_failures`, consecutiveFailures, 0, MAX_COUNT),
    lastErrorClass: enumValue(`${path}.last_error_class`, lastErrorClass, ErrorClass, 'ERROR_CLASS_'),
    lastAcquireTime: fields.time(`${path}.last_acquire_time`, history.lastAcquireTime),
    lastFailureTime: fields.time(`${path}.last_failure_time`, history.lastFailureTime),
    createTime: fields.time(`${path}.create_time`, history.createTime),
    failed: fields.integer(`${path}.failed`, failed, 0, MAX_CALLS),
  };
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
