import { create, toBinary } from '@bufbuild/protobuf';
import { BalancerError } from '../../../engine/errors.ts';
import {
  type CreateKeyRequest,
  CreateKeyRequestSchema,
  type CreateKeyResponse,
  type DeleteKeyRequest,
  type DeleteKeyResponse,
  type GetKeyRequest,
  type GetKeyResponse,
  type Key,
  KeySchema,
  type ResetKeyRequest,
  type ResetKeyResponse,
  type UpdateKeyRequest,
  UpdateKeyRequestSchema,
  type UpdateKeyResponse,
} from '../../../gen/keybalancer/v1/keybalancer_pb.ts';
import * as fields from '../fields.ts';
import { keyMessage } from '../key-messages.ts';
import { inOrder } from '../label-order.ts';
import type { ServiceContext } from '../service-context.ts';
import type { CallContext } from '../service-functions.ts';
import { keyChange, keySettings } from './key-settings.ts';

const MAX_ETAG = 64;

export async function getKey({ store }: ServiceContext, request: GetKeyRequest): Promise<GetKeyResponse> {
  const key = await store.getKey(keyId('key_id', request.keyId));
  return { $typeName: 'keybalancer.v1.GetKeyResponse', key: keyMessage(key) };
}

export async function createKey(
  { store }: ServiceContext,
  request: CreateKeyRequest,
  call: CallContext,
): Promise<CreateKeyResponse> {
  const key = request.key ?? create(KeySchema);
  const { replayed, ...view } = await store.createKey({
    pool: fields.poolName(key.pool),
    apiKey: fields.apiKey('api_key', request.apiKey),
    settings: keySettings(key),
    idempotency: fields.idempotency(call.caller, 'CreateKey', request.requestId, () =>
      toBinary(CreateKeyRequestSchema, { ...request, key: withLabelsInOrder(key), requestId: '' }),
    ),
  });
  return { $typeName: 'keybalancer.v1.CreateKeyResponse', key: keyMessage(view), replayed };
}

export async function updateKey(
  { store }: ServiceContext,
  request: UpdateKeyRequest,
  call: CallContext,
): Promise<UpdateKeyResponse> {
  const { key, updateMask, newApiKey } = request;
  if (key === undefined) throw fields.refused('key', 'absent', 'the key to change, with its key_id');
  const id = keyId('key.key_id', key.keyId);
  const { change, namesPool } = keyChange(key, updateMask);
  const order = {
    keyId: id,
    etag: fields.text('key.etag', key.etag, MAX_ETAG),
    change,
    newApiKey: newApiKey === '' ? undefined : fields.apiKey('new_api_key', newApiKey),
    idempotency: fields.idempotency(call.caller, 'UpdateKey', request.requestId, () =>
      toBinary(UpdateKeyRequestSchema, { ...request, key: withLabelsInOrder(key), requestId: '' }),
    ),
  };
  if (namesPool) {
    const { pool } = await store.getKey(id);
    if (fields.poolName(key.pool) !== pool) {
      throw fields.refused('key.pool', key.pool, `${JSON.stringify(pool)}: a key stays in its pool`);
    }
  }
  const { replayed, ...view } = await store.updateKey(order);
  return { $typeName: 'keybalancer.v1.UpdateKeyResponse', key: keyMessage(view), replayed };
}

export async function deleteKey({ store }: ServiceContext, request: DeleteKeyRequest): Promise<DeleteKeyResponse> {
  const etag = fields.text('etag', request.etag, MAX_ETAG);
  if (!request.allowMissing || KEY_ID.test(request.keyId)) {
    await store.deleteKey({ keyId: keyId('key_id', request.keyId), etag, allowMissing: request.allowMissing });
  }
  return { $typeName: 'keybalancer.v1.DeleteKeyResponse' };
}

export async function resetKey({ store }: ServiceContext, request: ResetKeyRequest): Promise<ResetKeyResponse> {
  const key = await store.resetKey(keyId('key_id', request.keyId));
  return { $typeName: 'keybalancer.v1.ResetKeyResponse', key: keyMessage(key) };
}

const KEY_ID = /^key-\d{8,15}$/;

/** As somebody may write an id that is none. */
const NEARLY_KEY_ID = /^key-[0-9a-f]{1,15}$/;

/** What has not the form of a key id names no key. It is hardly repeated: it may be an API key, put into the wrong field. */
export function keyId(field: string, value: string): string {
  if (KEY_ID.test(value)) return value;
  if (value === '') throw fields.refused(field, 'empty', 'the id of a key, such as key-00000042');
  const form = 'ids have the form of key-00000042';
  if (NEARLY_KEY_ID.test(value)) throw new BalancerError('KEY_NOT_FOUND', `there is no key ${value}: ${form}`);
  throw new BalancerError('KEY_NOT_FOUND', `${field} names no key: ${form}`);
}

function withLabelsInOrder(key: Key): Key {
  return { ...key, labels: inOrder(key.labels) };
}
