import { toBinary } from '@bufbuild/protobuf';
import { BalancerError } from '../../engine/errors.ts';
import {
  type BatchGetKeysRequest,
  BatchGetKeysRequestSchema,
  type BatchGetKeysResponse,
  KeyReuse,
} from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { BatchOrder } from '../../store/store.ts';
import { maxWaitMs } from './acquire-key.ts';
import { enumValue } from './enum-field.ts';
import * as fields from './fields.ts';
import { giveBack } from './give-back.ts';
import { leaseMessage } from './key-messages.ts';
import type { ServiceContext } from './service-context.ts';
import type { CallContext } from './service-functions.ts';

const MAX_BATCHES = 100;
const MAX_BATCH_SIZE = 1000;
const MAX_LEASES = 10_000;

export async function batchGetKeys(
  context: ServiceContext,
  request: BatchGetKeysRequest,
  call: CallContext,
): Promise<BatchGetKeysResponse> {
  const grant = await context.store.acquireBatches(batchOrder(request, call), call.signal);
  // Whoever leaves just as the keys come gets no answer; one with a request_id can still ask for them again.
  if (call.signal.aborted && request.requestId === '') {
    const leases = grant.batches.flatMap((batch) => batch.leases);
    await Promise.all(leases.map(({ leaseId }) => giveBack(context, call.caller, leaseId)));
    throw new BalancerError('OPERATION_CANCELLED', 'the caller gave up as the keys came; they were given back unused');
  }
  return {
    $typeName: 'keybalancer.v1.BatchGetKeysResponse',
    batches: grant.batches.map(({ requestedSize, leases }) => ({
      $typeName: 'keybalancer.v1.KeyBatch',
      requestedSize,
      leases: leases.map(leaseMessage),
    })),
    replayed: grant.replayed,
  };
}

function batchOrder(request: BatchGetKeysRequest, call: CallContext): BatchOrder {
  const keyReuse = enumValue('key_reuse', request.keyReuse, KeyReuse, 'KEY_REUSE_');
  return {
    caller: call.caller,
    pool: fields.poolName(request.pool),
    model: fields.model('model', request.model),
    batchSizes: batchSizes(request.batchSizes),
    leaseTtlMs: fields.leaseTtlMs('lease_ttl', request.leaseTtl),
    maxWaitMs: maxWaitMs('max_wait', request, call),
    keyReuse: keyReuse === KeyReuse.UNSPECIFIED ? KeyReuse.ALLOWED : keyReuse,
    allowPartial: request.allowPartial,
    idempotency: fields.idempotency(call.caller, 'BatchGetKeys', request.requestId, () =>
      toBinary(BatchGetKeysRequestSchema, { ...request, requestId: '', maxWait: undefined }),
    ),
  };
}

function batchSizes(sizes: readonly number[]): readonly number[] {
  fields.list('batch_sizes', sizes, 1, MAX_BATCHES);
  let sum = 0;
  for (const [index, size] of sizes.entries()) {
    sum += fields.integer(`batch_sizes[${index}]`, size, 1, MAX_BATCH_SIZE);
  }
  if (sum > MAX_LEASES) {
    throw fields.refused('batch_sizes', `${sum} keys together`, `at most ${MAX_LEASES} keys together`);
  }
  return sizes;
}
